"""What operators do with a running Orderwire: restore a backup, and let go of what is old."""

from __future__ import annotations

from tests.deployment import Deployment
from tests.sockets import frame, socket


async def test_after_a_restored_backup_a_client_is_reset_and_not_told_numbers_that_mean_something_else(
    deploy: type,
) -> None:
    deployment: Deployment = deploy()
    web, alice = deployment.web(), deployment.token("alice")
    async with socket(web, alice) as connection:
        welcome = await frame(connection)
    web.stop()
    deployment.manage("restart_streams")
    web.start()
    async with socket(web, alice, query=f"?after={welcome['head']}&stream={welcome['stream']}") as connection:
        assert (await frame(connection))["stream"] != welcome["stream"]
        reset = await frame(connection)
    assert (reset["type"], reset["reason"], reset["head"]) == ("reset", "unknown_stream", welcome["head"])


async def test_who_comes_back_after_the_retention_is_reset(deploy: type) -> None:
    deployment: Deployment = deploy()
    web, alice = deployment.web(), deployment.token("alice")
    deployment.manage(
        "shell",
        "--no-imports",
        "-c",
        "from datetime import timedelta; from django.utils import timezone;"
        "from notifications.models import Notification;"
        "Notification.objects.filter(seq__lte=3).update(at=timezone.now() - timedelta(days=31))",
    )
    deployment.manage("housekeeping")
    async with socket(web, alice, query="?after=2") as connection:
        head = (await frame(connection))["head"]
        assert await frame(connection) | {"stream": ""} == {
            "type": "reset",
            "stream": "",
            "head": head,
            "reason": "trimmed",
        }
    async with socket(web, alice, query="?after=3") as connection:
        await frame(connection)
        assert (await frame(connection))["seq"] == 4
