"""The staff's socket: every order's latest state, for whom the permission lets see it, whoever was told of it."""

import itertools
import os
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection

from tests.conftest import Deploy
from tests.deployment import Deployment, Web
from tests.polling import PATIENCE
from tests.sockets import close_code, frame, socket

_numbers = itertools.count(1)


@pytest.fixture
def staff_http(deployment: Deployment, web: Web) -> Iterator[httpx.Client]:
    with http(deployment, web) as client:
        yield client


def http(deployment: Deployment, web: Web) -> httpx.Client:
    headers = {"Authorization": f"Bearer {deployment.token('staff')}"}
    return httpx.Client(base_url=f"{web.url}/api/v1", headers=headers, timeout=PATIENCE)


def new_order(client: httpx.Client, customer: str = "alice") -> str:
    number = f"B-{os.getpid()}-{next(_numbers)}"
    client.post("/orders", json={"number": number, "customer": customer}).raise_for_status()
    return number


def change(client: httpx.Client, number: str, **fields: Any) -> int:
    """Change an order; gives its new version."""
    answer = client.patch(f"/orders/{number}", json=fields).raise_for_status()
    return int(answer.json()["version"])


def delete(client: httpx.Client, number: str) -> None:
    client.delete(f"/orders/{number}").raise_for_status()


def seen(client: httpx.Client, number: str) -> Any:
    """The order as the API gives it."""
    return client.get(f"/orders/{number}").raise_for_status().json()


def board(web: Web, token: str | None) -> AbstractAsyncContextManager[ClientConnection]:
    return socket(web, token, path="/ws/board")


async def order_at(connection: ClientConnection, number: str, version: int) -> dict[str, Any]:
    """The order as the board tells it, at that version or a later one."""
    while True:
        order: dict[str, Any] = (await frame(connection, "order"))["order"]
        if order["number"] == number and order["version"] >= version:
            return order


async def test_the_board_tells_of_everybodys_orders(deployment: Deployment, web: Web, staff_http: httpx.Client):
    numbers = [new_order(staff_http, customer) for customer in ("alice", "bob")]
    async with board(web, deployment.token("staff")) as connection:
        assert (await frame(connection))["type"] == "welcome"
        for number in numbers:
            version = change(staff_http, number, status="shipped", carrier="DHL")
            told = await order_at(connection, number, version)
            assert told == seen(staff_http, number)


async def test_the_board_tells_what_the_customer_is_not_told(
    deployment: Deployment, web: Web, staff_http: httpx.Client
):
    number = new_order(staff_http)
    async with board(web, deployment.token("staff")) as connection:
        await frame(connection, "welcome")
        version = change(staff_http, number, status="on_hold", notify=False)
        assert (await order_at(connection, number, version))["status"] == "on_hold"
        version = change(staff_http, number, carrier="DHL")
        assert (await order_at(connection, number, version))["carrier"] == "DHL"
        created = new_order(staff_http)
        assert (await order_at(connection, created, 1))["status"] == "pending"


async def test_a_burst_of_changes_ends_with_the_latest_state_in_few_frames(
    deployment: Deployment, web: Web, staff_http: httpx.Client
):
    number = new_order(staff_http)
    async with board(web, deployment.token("staff")) as connection:
        await frame(connection, "welcome")
        for step in range(30):
            version = change(staff_http, number, carrier=f"Carrier {step}")
        frames = 0
        while True:
            order = (await frame(connection, "order"))["order"]
            frames += order["number"] == number
            if order["number"] == number and order["version"] == version:
                break
        assert order["carrier"] == "Carrier 29"
        assert frames < 30


@pytest.mark.parametrize(("who", "code"), [("alice", 4505), (None, 4500)])
async def test_the_board_is_closed_to_who_may_not_see_all_orders(
    deployment: Deployment, web: Web, who: str | None, code: int
):
    async with board(web, deployment.token(who) if who else None) as connection:
        assert await close_code(connection) == code


async def test_a_customers_socket_hears_nothing_of_the_board(
    deployment: Deployment, web: Web, staff_http: httpx.Client
):
    bobs, alices = new_order(staff_http, "bob"), new_order(staff_http, "alice")
    async with board(web, deployment.token("staff")) as staff, socket(web, deployment.token("alice")) as alice:
        await frame(staff, "welcome")
        await frame(alice, "welcome")
        version = change(staff_http, bobs, status="shipped")
        await order_at(staff, bobs, version)
        change(staff_http, alices, status="shipped")
        heard = await frame(alice)
        assert (heard["type"], heard["order"]["number"]) == ("notification", alices)


async def test_a_board_socket_ends_with_the_token_that_opened_it(deploy: Deploy):
    deployment = deploy()
    web = deployment.web()
    async with board(web, deployment.token("staff")) as connection:
        await frame(connection, "welcome")
        deployment.manage(
            "shell", "-c", "from knox.models import AuthToken; [t.delete() for t in AuthToken.objects.all()]"
        )
        assert await close_code(connection) == 4502


async def test_a_hint_is_enough(deploy: Deploy):
    deployment = deploy(NOTIFICATION_TAIL_SECONDS="3600")
    web = deployment.web()
    with http(deployment, web) as client:
        number = new_order(client)
        for carrier in ("DHL", "UPS"):  # The process rests in between, and hears again.
            async with board(web, deployment.token("staff")) as connection:
                await frame(connection, "welcome")
                version = change(client, number, carrier=carrier)
                assert (await order_at(connection, number, version))["version"] == version


async def test_a_deleted_order_is_told_to_the_board(web: Web, deployment: Deployment, staff_http: httpx.Client):
    number = new_order(staff_http)
    async with board(web, deployment.token("staff")) as connection:
        await frame(connection, "welcome")
        delete(staff_http, number)
        while (await frame(connection, "removed"))["number"] != number:
            pass


async def test_what_no_hint_announced_reaches_the_board_all_the_same(deploy: Deploy):
    deployment = deploy(NOTIFICATION_TAIL_SECONDS="0.2")
    web = deployment.web()
    with http(deployment, web) as client:
        number = new_order(client)
        async with board(web, deployment.token("staff")) as connection:
            await order_at(connection, number, 1)
            deployment.manage(
                "shell",
                "-c",
                "from orders import services; from orders.models import Order; "
                f"services.change_status(order=Order.objects.get(number='{number}'), to='shipped')",
                HINT_FAULTS="drop=1",
            )
            assert (await order_at(connection, number, 2))["status"] == "shipped"


async def test_who_may_not_watch_any_more_is_closed(deploy: Deploy) -> None:
    deployment = deploy(NOTIFICATION_TAIL_SECONDS="0.2")
    web = deployment.web()
    async with board(web, deployment.token("staff")) as connection:
        await frame(connection, "welcome")
        deployment.manage(
            "shell",
            "--no-imports",
            "-c",
            "from django.contrib.auth import get_user_model;"
            "staff = get_user_model().objects.get(username='staff');"
            "staff.groups.clear(); staff.user_permissions.clear(); staff.is_superuser = False; staff.save()",
        )
        assert await close_code(connection) == 4505
