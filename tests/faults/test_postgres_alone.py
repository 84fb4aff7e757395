"""Without Redis: two processes hear each other over PostgreSQL, and the connections by which they do are cut."""

import psycopg
import pytest

from tests.faults.client import all_hear_more
from tests.faults.conftest import OpenShop
from tests.polling import apoll

pytestmark = pytest.mark.faults

CUTS = 3
#: Connections that carry hints, by what they have said last: under load that is no ping.
CARRYING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ '^(SELECT pg_notify|LISTEN)'
"""


async def test_connections_that_carry_hints_are_cut_again_and_again_under_load(open_shop: OpenShop):
    """Requests are answered 200, sockets stay, and everything arrives: what no hint announced, by the tail check.

    Where a process does not listen anew, the last wait fails: no connection carries hints.
    """
    shop = open_shop(REDIS_URL=None, NOTIFICATION_TAIL_SECONDS="1")
    webs = [shop.web(), shop.web()]

    async def both_carry_hints() -> bool:
        return len(await (await asking.execute(CARRYING)).fetchall()) == len(webs)

    async with (
        await psycopg.AsyncConnection.connect(shop.deployment.database_url, autocommit=True) as asking,
        shop.following() as clients,
    ):
        async with shop.writing() as log:
            for _ in range(CUTS):
                await apoll(both_carry_hints, saying="both processes carry hints")
                await asking.execute(f"SELECT pg_terminate_backend(pid) FROM ({CARRYING}) AS carrying")
                await shop.more(log)
                await all_hear_more(clients)
                await apoll(both_carry_hints, saying="both processes carry hints again")
        await shop.check(clients, log)
    assert set(log.statuses) == {200}
    assert not any(client.closes for client in clients)
    for web in webs:
        assert web.log().count("PostgreSQL carries no hints") >= CUTS
