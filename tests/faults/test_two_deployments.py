"""Two gunicorns over one database, one of them with two processes, and clients that move among them."""

import asyncio

import pytest

from tests.faults.client import all_connected, all_hear_more
from tests.faults.conftest import Carried, OpenShop

pytestmark = pytest.mark.faults

MOVES = 5


async def test_clients_that_move_between_deployments_get_everything_once(open_shop: OpenShop, carried: Carried):
    """Everybody leaves and comes back to the other one, five times; changes are made at both, and no tail check helps.

    With a channel layer that does not reach other processes, who is connected to one lacks what was changed at another.
    Without the read of the log at the handshake, what was written on the way is missing.
    """
    shop = open_shop(NOTIFICATION_TAIL_SECONDS="3600", **carried)
    webs = [shop.web(WEB_CONCURRENCY="2"), shop.web()]
    async with shop.following() as clients:
        async with shop.writing([webs[0].url]) as here, shop.writing([webs[1].url]) as there:
            for _ in range(MOVES):
                await all_hear_more(clients)
                await asyncio.gather(*(client.leave() for client in clients))
                await all_connected(clients)
            await all_hear_more(clients)
        here.answers += there.answers
        await shop.check(clients, here)
    assert all(set(client.connected_to) == {web.url for web in webs} for client in clients)
    assert set(here.statuses) == {200}
