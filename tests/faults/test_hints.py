"""Hints go wrong in every way they can, by the fault kit; the log repairs what they did not bring."""

import pytest

from tests.faults.client import all_hold
from tests.faults.conftest import Carried, OpenShop
from tests.faults.shop import CUSTOMERS
from tests.polling import apoll

pytestmark = pytest.mark.faults

#: No tail check comes within any test.
NEVER = "3600"


async def test_gaps_doubles_and_overtaken_hints_are_repaired_by_the_hints_that_follow(
    open_shop: OpenShop, carried: Carried
):
    """One hint in ten is lost, one doubled, one overtaken, one late, and no tail check helps.

    Without the read of the log, clients end where their first hint was lost; without the look at the number, they get
    doubles and later numbers first.
    """
    faults = "drop=0.1,double=0.1,reorder=0.1,delay=0.1,seed=7"
    shop = open_shop(HINT_FAULTS=faults, NOTIFICATION_TAIL_SECONDS=NEVER, **carried)
    web = shop.web()
    async with shop.following() as clients:
        async with shop.writing() as log:
            for _ in range(4):
                await shop.more(log, 100)

        async def nobody_lacks_a_hint() -> bool:
            # A last hint that was lost is repaired by the next one, so whoever lacks one gets one more.
            heads = await shop.heads()
            behind = {client.customer for client in clients if client.held < heads[client.customer]}
            for customer in behind:
                await shop.change(customer, log)
            return not behind

        await apoll(nobody_lacks_a_hint, every=0.5)
        await shop.check(clients, log)
    for what in ("dropped", "doubled", "overtaken", "delayed"):
        assert f"is {what}." in web.log()


async def test_a_last_hint_that_is_lost_is_found_by_the_tail_check(open_shop: OpenShop, carried: Carried):
    """Everybody holds everything; then one change for each customer whose hint is lost, and nothing after it.

    Without the tail check, clients end one short.
    """
    shop = open_shop(HINT_FAULTS="lose=unheard", **carried)
    web = shop.web()
    async with shop.following() as clients:
        async with shop.writing() as log:
            await shop.more(log, 50)
        await all_hold(clients, await shop.heads())
        for customer in CUSTOMERS:
            await shop.change(customer, log, note="unheard")
        await shop.check(clients, log)
        assert all("unheard" in client.delivered[-1]["note"] for client in clients)
    assert web.log().count("is dropped.") == len(CUSTOMERS)
