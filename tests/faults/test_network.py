"""Clients whose network goes away for 2 s, again and again: all of them get everything."""

import itertools

import pytest

from tests.faults.client import all_connected, all_hear_more
from tests.faults.conftest import Carried, OpenShop
from tests.faults.network import Network
from tests.faults.outage import lasting

pytestmark = pytest.mark.faults

DROP_SECONDS = 2
#: With the moments in between, in which everybody comes back and new changes arrive, some 15 s.
DROPS = 6


async def test_clients_whose_network_drops_again_and_again_are_delivered_everything(
    open_shop: OpenShop, carried: Carried
):
    """Six drops: by turns the connections are cut, of which the server learns nothing, and everything stands still.

    Without the read of the log at the handshake, what was written during a cut is missing. Where a user's dead
    connections keep out the newest one, clients are told to stop with 4503.
    """
    shop = open_shop(**carried)
    web = shop.web()
    async with Network(web.port) as network, shop.following([network.url]) as clients:
        async with shop.writing() as log:
            for fault in itertools.islice(itertools.cycle([network.cut, network.stall]), DROPS):
                fault()
                async with lasting(DROP_SECONDS):
                    await shop.more(log, 10)
                network.restore()
                await all_connected(clients)
                await all_hear_more(clients)
        await shop.check(clients, log)
    assert all(sum(client.closes.values()) >= DROPS // 2 for client in clients)
