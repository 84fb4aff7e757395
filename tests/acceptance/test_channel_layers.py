"""Each layer carries hints from one process to another, over Redis encrypted if there are keys."""

from __future__ import annotations

import httpx
import pytest

from tests.conftest import Deploy
from tests.database import on_postgres
from tests.polling import apoll
from tests.servers import Postgres
from tests.sockets import frame, socket

CHANGE = "from orders.tasks import change_status; change_status('SO-1001', 'shipped')"
DEACTIVATE = "from django.contrib.auth.models import User; u = User.objects.get(username='alice'); {}; u.save()"
NEVER = "3600"


@pytest.mark.parametrize("layer", ["redis", "pubsub", "core"])
async def test_hints_arrive_over_every_layer(layer: str, deploy: Deploy, embedded: bool):
    if embedded:
        pytest.skip("the embedded default has no Redis")
    # The tail check is off: what arrives was brought by a hint.
    deployment = deploy(CHANNEL_LAYER=layer, CHANNEL_KEYS="k" * 32, NOTIFICATION_TAIL_SECONDS=NEVER)
    async with socket(deployment.web(), deployment.token("alice")) as hers:
        await frame(hers, "welcome")
        deployment.manage("shell", "--no-imports", "-c", CHANGE)
        assert (await frame(hers, "notification"))["order"]["status"] == "shipped"


async def test_deployments_in_two_databases_of_one_redis_leave_each_other_alone(deploy: Deploy, embedded: bool):
    """Both have an alice with the same key. What ends her sockets in staging ends none in the shop."""
    if embedded:
        pytest.skip("the embedded default has no Redis")
    shop = deploy(NOTIFICATION_TAIL_SECONDS=NEVER)
    assert shop.redis is not None
    staging = deploy(NOTIFICATION_TAIL_SECONDS=NEVER, REDIS_URL=shop.redis.url.removesuffix("/0") + "/1")
    async with socket(shop.web(), shop.token("alice")) as hers:
        await frame(hers, "welcome")
        read = "from notifications.log import stream; from django.contrib.auth.models import User; "
        read += "stream.mark_read(User.objects.get(username='alice').pk, 10)"
        staging.manage("shell", "--no-imports", "-c", CHANGE)
        staging.manage("shell", "--no-imports", "-c", read)
        staging.manage("shell", "--no-imports", "-c", DEACTIVATE.format("u.is_active = False"))
        # Whatever staging has said was said before this.
        shop.manage("shell", "--no-imports", "-c", CHANGE)
        first = await frame(hers)
        while first["type"] == "ping":
            first = await frame(hers)
        assert first["type"] == "notification"


@on_postgres
async def test_processes_hear_each_other_over_postgres_alone(deploy: Deploy):
    # The tail check is off: what arrives was brought by a hint.
    deployment = deploy(REDIS_URL=None, NOTIFICATION_TAIL_SECONDS=NEVER)
    one, other = deployment.web(), deployment.web()
    headers = {"Authorization": f"Bearer {deployment.token('staff')}"}
    async with (
        socket(one, deployment.token("alice")) as hers,
        socket(one, deployment.token("staff"), path="/ws/board") as board,
        httpx.AsyncClient(base_url=other.url, headers=headers) as staff,
    ):
        await frame(hers, "welcome")
        await frame(board, "welcome")
        assert (await staff.patch("/api/v1/orders/SO-1001", json={"status": "shipped"})).status_code == 200
        assert (await frame(hers, "notification"))["order"]["status"] == "shipped"
        assert (await frame(board, "order"))["order"]["status"] == "shipped"
        deployment.manage("shell", "--no-imports", "-c", CHANGE.replace("shipped", "delivered"))
        assert (await frame(hers, "notification"))["order"]["status"] == "delivered"


@on_postgres
async def test_a_process_that_hears_no_hints_says_so_stays_ready_and_delivers(deploy: Deploy):
    with Postgres() as direct:
        deployment = deploy(REDIS_URL=None, HINTS_DATABASE_URL=direct.url)
        web = deployment.web()
        headers = {"Authorization": f"Bearer {deployment.token('staff')}"}
        async with (
            socket(web, deployment.token("alice")) as hers,
            httpx.AsyncClient(base_url=web.url, headers=headers) as staff,
        ):
            await frame(hers, "welcome")

            async def readiness() -> tuple[int, object]:
                answer = await staff.get("/readyz")
                return answer.status_code, answer.json()

            async def is_ready(**hints: str) -> bool:
                return await readiness() == (200, {"status": "ok", **hints})

            await apoll(is_ready)
            direct.stop()
            await apoll(lambda: is_ready(hints="reconnecting"))
            assert (await staff.patch("/api/v1/orders/SO-1001", json={"status": "shipped"})).status_code == 200
            assert (await frame(hers, "notification"))["order"]["status"] == "shipped"
            direct.start()
            await apoll(is_ready)
