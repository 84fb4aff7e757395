"""A Celery worker that dies in the middle of a task: the task is done all the same, once in effect."""

import asyncio
import shlex
from typing import Any

import psutil
import pytest

from tests.deployment import Worker
from tests.faults.conftest import OpenShop
from tests.faults.locks import locked, somebody_waits
from tests.faults.shop import CUSTOMERS, Shop
from tests.polling import apoll

pytestmark = pytest.mark.faults

#: An order that only the task changes.
CUSTOMER, NUMBER = CUSTOMERS[0], f"{CUSTOMERS[0]}-task"
ORDER = "SELECT 1 FROM orders_order WHERE number = %s"

ENQUEUE = f"""
from orders.tasks import change_status
change_status.delay({NUMBER!r}, "shipped", note="by a task")
"""


async def test_a_task_whose_process_is_killed_before_it_commits_is_done_by_another(open_shop: OpenShop):
    """The child that runs the task is killed while it waits for the order; Celery starts another one for it.

    Without late acknowledgement, or where the task of a lost child is not given back, the order never moves.
    """
    shop = open_shop()
    shop.web()
    worker = shop.deployment.worker()
    async with shop.following() as clients:
        async with shop.writing() as log:
            await shop.place(CUSTOMER, NUMBER)
            with locked(shop.deployment.database_url, ORDER, NUMBER):
                await enqueue(shop)
                await somebody_waits(shop.deployment.database_url)
                [child] = psutil.Process(worker.pid).children()
                child.kill()
                await asyncio.to_thread(child.wait)
            await apoll(lambda: moved(shop), every=0.1)
        await shop.check(clients, log)
    assert [change["applied"] for change in await by_the_task(shop)] == [True]


async def test_a_task_that_has_committed_and_was_not_acknowledged_runs_again_and_moves_nothing(open_shop: OpenShop):
    """The whole worker dies, as with its machine, between the commit and the acknowledgement; another one takes over.

    Without late acknowledgement, nothing is taken over. Where a status that the order has already is a step like any
    other, the second run is refused, and the task fails.
    """
    shop = open_shop()
    shop.web()
    worker = shop.deployment.worker()
    async with shop.following() as clients:
        async with shop.writing() as log:
            await shop.place(CUSTOMER, NUMBER)
            with locked(shop.deployment.database_url, ORDER, NUMBER):
                await enqueue(shop)
                await somebody_waits(shop.deployment.database_url)
                # The parent acknowledges what its child has done. It no longer can.
                psutil.Process(worker.pid).suspend()
            await apoll(lambda: moved(shop), every=0.1)
            worker.kill()
            with impatient_worker(shop) as another:
                await apoll(lambda: ran_twice(shop), every=0.1, saying=another.log_tail)
        await shop.check(clients, log)
    assert [change["applied"] for change in await by_the_task(shop)] == [True, False]


async def enqueue(shop: Shop) -> None:
    await asyncio.to_thread(shop.deployment.manage, "shell", "-v", "0", "-c", ENQUEUE)


async def by_the_task(shop: Shop) -> list[dict[str, Any]]:
    """What the order's history has of the task."""
    history = await shop.history(NUMBER, CUSTOMER)
    return [change for change in history if change["note"] == "by a task"]


async def moved(shop: Shop) -> bool:
    return len(await by_the_task(shop)) >= 1


async def ran_twice(shop: Shop) -> bool:
    return len(await by_the_task(shop)) >= 2


def impatient_worker(shop: Shop) -> Worker:
    """A worker that takes an unacknowledged task for abandoned after a second, and looks for such each second.

    The settings say six minutes and ten seconds.
    """
    options = shlex.quote(
        "broker_transport_options=(dict)"
        '{"visibility_timeout": 1, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}'
    )
    return Worker(shop.deployment.env, "--concurrency", "1", "--", options)
