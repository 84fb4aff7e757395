"""The client that docs/protocol.md gives to the authors of other clients, as it stands there, on the real server."""

import asyncio
import re
from copy import deepcopy
from typing import Any

import httpx

from tests.conftest import Deploy
from tests.deployment import Deployment, Web
from tests.faults.network import Network
from tests.polling import PATIENCE, apoll
from tests.process import ROOT


async def test_the_client_in_the_document_holds_what_the_server_holds(deploy: Deploy):
    """Live, after a lost network, after streams that begin anew, until its token is deleted."""
    deployment = deploy()
    web = deployment.web()
    token = deployment.token("alice")
    shown: list[dict[str, Any]] = []
    follow = documented()["follow"]
    async with (
        Network(web.port) as network,
        httpx.AsyncClient(base_url=web.url, headers=bearer(deployment.token("staff")), timeout=PATIENCE) as office,
    ):
        following = asyncio.create_task(follow(network.url, token, lambda orders: shown.append(deepcopy(orders))))
        await apoll(lambda: shown)
        await changed(office, "DHL")
        await holds("DHL", shown)
        network.cut()
        await changed(office, "UPS")
        network.restore()
        await holds("UPS", shown)
        network.cut()
        await asyncio.to_thread(deployment.manage, "restart_streams")
        await changed(office, "GLS")
        network.restore()
        await holds("GLS", shown)
        assert shown[-1] == await fresh(web, token)
        await asyncio.to_thread(log_out_everywhere, deployment)
        assert await asyncio.wait_for(following, PATIENCE) in (4502, 401)
    # Nothing was shown twice, and nothing older after something newer.
    versions = [orders["SO-1001"]["version"] for orders in shown]
    assert versions == sorted(versions)


def documented() -> dict[str, Any]:
    """The names of the Python program in the document."""
    [program] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/protocol.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102 -- our own document
    return names


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def changed(office: httpx.AsyncClient, carrier: str) -> None:
    answer = await office.patch("/api/v1/orders/SO-1001", json={"carrier": carrier})
    assert answer.status_code == 200, answer.text


async def holds(carrier: str, shown: list[dict[str, Any]]) -> None:
    await apoll(lambda: shown[-1]["SO-1001"]["carrier"] == carrier, saying=f"{carrier} is shown")


async def fresh(web: Web, token: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=web.url, headers=bearer(token), timeout=PATIENCE) as http:
        return {order["number"]: order for order in (await http.get("/api/v1/orders")).json()["results"]}


def log_out_everywhere(deployment: Deployment) -> None:
    delete = "from knox.models import AuthToken; AuthToken.objects.filter(user__username='alice').delete()"
    deployment.manage("shell", "--no-imports", "-c", delete)
