"""Web processes die, end in order and are replaced, under load: who was connected comes back and has missed nothing."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from tests.faults.client import all_connected, by
from tests.faults.conftest import Carried, OpenShop
from tests.faults.transports import ABNORMAL, ByEventSource, ByLongPolling, ByWebSocket
from tests.faults.writer import NO_ANSWER
from tests.polling import apoll

pytestmark = pytest.mark.faults

DRAIN = 4000


async def test_each_web_worker_is_killed_in_turn_under_load(open_shop: OpenShop, carried: Carried):
    """SIGKILL to one of two workers, then to the other. What was in flight breaks, and nothing is half-written.

    Without the read of the log at the handshake, who comes back lacks what was written meanwhile.
    """
    shop = open_shop(**carried)
    web = shop.web(WEB_CONCURRENCY="2")
    async with shop.following() as clients:
        async with shop.writing() as log:
            for victim in web.worker_pids():
                web.kill_worker(victim)
                await apoll(partial(replaced, web.worker_pids, {victim}, 2))
                await all_connected(clients)
                await shop.more(log)
        await shop.check(clients, log)
    assert set(log.statuses) <= {200, NO_ANSWER}
    assert {code for client in clients for code in client.closes} == {ABNORMAL}


async def test_new_workers_take_over_on_hup_under_load(open_shop: OpenShop, carried: Carried):
    """HUP: everybody is told good-bye with 4000, finds the new workers, and no request fails, no poll either.

    Without the drain, the close code is 1012. Where connections are not told before they end, requests are reset that
    were on their way. Without the read of the log at the handshake, who comes back lacks what
    was written meanwhile.
    """
    shop = open_shop(**carried)
    web = shop.web(WEB_CONCURRENCY="2")
    async with shop.following() as clients:
        async with shop.writing() as log:
            old = set(web.worker_pids())
            web.hup()
            await apoll(partial(replaced, web.worker_pids, old, 2))
            await all_connected(clients)
            await shop.more(log)
        await shop.check(clients, log)
    assert set(log.statuses) == {200}
    followers = by(ByWebSocket, clients) + by(ByEventSource, clients)
    assert all(set(client.closes) == {DRAIN} for client in followers)
    assert all(len(client.byes) == client.closes[DRAIN] for client in followers)
    assert not any(client.closes for client in by(ByLongPolling, clients))


async def test_deployments_are_restarted_one_after_the_other_under_load(open_shop: OpenShop, carried: Carried):
    """SIGTERM to one of two gunicorns, which is started again, then to the other: a rolling restart.

    Without the drain, the close code is 1012. Without the read of the log at the handshake, who moves lacks what was
    written meanwhile.
    """
    shop = open_shop(**carried)
    webs = [shop.web(), shop.web()]
    async with shop.following() as clients:
        async with shop.writing() as log:
            for web in webs:
                await asyncio.to_thread(web.stop)
                await all_connected(clients)
                await shop.more(log)
                await asyncio.to_thread(web.start)
        await shop.check(clients, log)
    assert set(log.statuses) <= {200, NO_ANSWER}
    assert all(set(client.closes) == {DRAIN} for client in by(ByWebSocket, clients) + by(ByEventSource, clients))
    assert all(set(client.closes) <= {ABNORMAL} for client in by(ByLongPolling, clients))


def replaced(pids: Callable[[], list[int]], old: set[int], number: int) -> bool:
    """Whether there are so many workers, and none of the old ones."""
    now = set(pids())
    return len(now) == number and not now & old
