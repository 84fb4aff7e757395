"""A Redis that is found by asking a Sentinel: hints and tasks alike."""

from __future__ import annotations

import pytest

from tests.conftest import Deploy
from tests.servers import Redis, Sentinel
from tests.sockets import frame, socket


async def test_hints_and_tasks_find_their_redis_through_a_sentinel(deploy: Deploy, embedded: bool):
    if embedded:
        pytest.skip("the embedded default has no Redis")
    with Redis() as redis, Sentinel(redis) as sentinel:
        # The tail check is off: what arrives was brought by a hint.
        deployment = deploy(REDIS_URL=sentinel.url, NOTIFICATION_TAIL_SECONDS="3600")
        web = deployment.web()
        worker = deployment.worker()
        async with socket(web, deployment.token("alice")) as hers:
            await frame(hers, "welcome")
            task = "from orders.tasks import change_status; change_status.delay('SO-1001', 'shipped')"
            deployment.manage("shell", "--no-imports", "-c", task)
            assert (await frame(hers, "notification"))["order"]["status"] == "shipped"
        # While its broker is there: Celery tries to reach one that is gone for as long as a process is given to end.
        worker.stop()
