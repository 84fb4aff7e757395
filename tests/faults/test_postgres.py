"""PostgreSQL goes away under load, and comes back: who asks is told to come again, and everything goes on by itself."""

import asyncio

import pytest
from websockets.asyncio.client import connect

from tests.faults.client import all_hear_more, by
from tests.faults.conftest import CARRIERS
from tests.faults.locks import locked, somebody_waits
from tests.faults.shop import CUSTOMERS, Shop
from tests.faults.transports import ABNORMAL, ByEventSource, ByLongPolling, ByWebSocket
from tests.faults.writer import Log
from tests.polling import apoll
from tests.servers import Postgres

pytestmark = pytest.mark.faults

BUSY = 4004

#: The row that numbers a customer's notifications.
STREAM = "SELECT 1 FROM notifications_stream WHERE user_id = (SELECT id FROM auth_user WHERE username = %s)"


@pytest.mark.parametrize("shop_on_its_own_postgres", CARRIERS.values(), ids=CARRIERS, indirect=True)
async def test_postgres_is_stopped_and_killed_under_load(shop_on_its_own_postgres: tuple[Shop, Postgres]):
    """First stopped as an operator does, then killed with all its backends; started again each time.

    Requests are answered 503 as problem+json meanwhile, polls too; newcomers are sent away with 4004, and those who are
    connected stay so. A plain `EventSource` whose connection is lost meanwhile comes back after it: any other status
    than 200 would have ended it. Where a change and its notification commit apart, the history and the streams differ.
    Where connections that PostgreSQL has dropped are not opened anew, nobody is let in after the restart.
    """
    shop, postgres = shop_on_its_own_postgres
    web = shop.web()
    async with shop.following() as clients:
        pages = by(ByEventSource, clients)
        async with shop.writing() as log:
            for end in (postgres.stop, postgres.kill):
                with locked(shop.deployment.database_url, STREAM, CUSTOMERS[0]):
                    # A change is in the middle: its order is written, its notification waits for the stream.
                    await somebody_waits(shop.deployment.database_url)
                    await asyncio.to_thread(end)
                await refused(log, 10)
                assert await shop.status("/readyz") == 503
                assert await shop.status("/healthz") == 200
                assert await code_of_a_newcomer(web.ws_url, shop.tokens[CUSTOMERS[0]]) == BUSY
                await asyncio.gather(*(client.leave() for client in pages))
                await apoll(lambda: all(client.closes[BUSY] for client in pages), saying="pages that are told to wait")
                await asyncio.to_thread(postgres.start)
                await shop.more(log)
                async with shop.joined_by(CUSTOMERS[0]) as newcomers:
                    await all_hear_more([*clients, *newcomers])
        assert await shop.status("/readyz") == 200
        await shop.check(clients, log)
    assert set(log.statuses) == {200, 503}
    for answer in log.answers:
        if answer.status == 503:
            assert answer.content_type == "application/problem+json"
            assert answer.body["code"] == "database_unavailable"
    assert not any(client.closes for client in by(ByWebSocket, clients))
    assert all(set(client.closes) == {ABNORMAL, BUSY} for client in pages)
    assert all(set(client.closes) <= {503} for client in by(ByLongPolling, clients))


async def refused(log: Log, times: int) -> None:
    """Wait until so many more requests have been answered 503."""
    enough = log.statuses[503] + times
    await apoll(lambda: log.statuses[503] >= enough, saying=lambda: f"no 503 comes: {log.statuses}")


async def code_of_a_newcomer(url: str, token: str) -> int:
    """What the server closes a new connection with."""
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(f"{url}/ws/notifications", additional_headers=headers, proxy=None) as connection:
        await connection.wait_closed()
        assert connection.close_code is not None
        return connection.close_code
