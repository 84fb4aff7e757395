"""From a PATCH to a socket, on a served deployment and from outside: who hears of what, in which order, how often."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.conftest import Deploy
from tests.deployment import Deployment, Web
from tests.polling import PATIENCE, apoll
from tests.sockets import frame, socket

T = TypeVar("T")


async def soon(awaitable: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaitable, PATIENCE)


@asynccontextmanager
async def api(web: Web, deployment: Deployment, user: str | None = "staff") -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {deployment.token(user)}"} if user else {}
    async with httpx.AsyncClient(base_url=f"{web.url}/api/v1", headers=headers, timeout=PATIENCE) as client:
        yield client


async def change(client: httpx.AsyncClient, number: str, **fields: Any) -> dict[str, Any]:
    answer = await client.patch(f"/orders/{number}", json=fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def place(client: httpx.AsyncClient, number: str, customer: str = "alice") -> dict[str, Any]:
    answer = await client.post("/orders", json={"number": number, "customer": customer})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_change_reaches_its_customer_and_nobody_else(web: Web, deployment: Deployment):
    async with (
        api(web, deployment) as client,
        socket(web, deployment.token("alice")) as hers,
        socket(web, deployment.token("bob")) as his,
    ):
        welcome = await soon(frame(hers))
        await soon(frame(his, "welcome"))
        await place(client, "DELIVERY-1")
        changed = await change(client, "DELIVERY-1", status="shipped", carrier="DHL", note="On its way")
        created, told = [await soon(frame(hers, "notification")) for _ in range(2)]
        assert (created["seq"], created["kind"]) == (welcome["head"] + 1, "order.created")
        assert (told["seq"], told["kind"]) == (welcome["head"] + 2, "order.status_changed")
        assert (told["order"], told["note"]) == ({name: changed[name] for name in told["order"]}, "On its way")
        assert told["order"]["status"] == "shipped"
        # The first that bob hears of anything is of an order of his own.
        await place(client, "DELIVERY-2", "bob")
        assert (await soon(frame(his, "notification")))["order"]["number"] == "DELIVERY-2"


async def test_what_is_repeated_late_or_not_to_be_told_reaches_nobody(web: Web, deployment: Deployment):
    async with api(web, deployment) as client, socket(web, deployment.token("alice")) as hers:
        await place(client, "DELIVERY-3")
        await change(client, "DELIVERY-3", status="shipped")
        for unheard in (
            {"status": "shipped"},
            {"status": "processing", "occurred_at": "2020-01-01T00:00:00Z"},
            {"status": "out_for_delivery", "notify": False},
        ):
            await change(client, "DELIVERY-3", **unheard)
        await change(client, "DELIVERY-3", status="delivered")
        told = [(await soon(frame(hers, "notification")))["order"]["status"] for _ in range(3)]
        assert told == ["pending", "shipped", "delivered"]


async def test_what_is_replayed_is_byte_for_byte_what_was_live(web: Web, deployment: Deployment):
    async with api(web, deployment) as client, api(web, deployment, "alice") as reader:
        async with socket(web, deployment.token("alice")) as live:
            welcome = await soon(frame(live, "welcome"))
            await place(client, "DELIVERY-4")
            await change(client, "DELIVERY-4", status="shipped", note="Unterwegs, später mehr ✓")
            lived = [await soon(live.recv()) for _ in range(2)]
        query = f"?after={welcome['head']}&stream={welcome['stream']}"
        async with socket(web, deployment.token("alice"), query=query) as replay:
            await soon(frame(replay, "welcome"))
            assert [await soon(replay.recv()) for _ in range(2)] == lived
        page = await reader.get("/notifications", params={"after": welcome["head"], "limit": 2})
        assert page.json()["results"] == [json.loads(text) for text in lived]


async def test_a_reading_mark_whose_hint_is_lost_reaches_the_other_tabs(deploy: Deploy):
    """By the look before a ping. As many tabs as there are seconds between two pings, so that one is due at once."""
    tabs = 25
    deployment = deploy(HINT_FAULTS="lose=stream.read", MAX_SOCKETS_PER_USER=str(tabs))
    web = deployment.web()
    async with api(web, deployment) as client, AsyncExitStack() as stack:
        await place(client, "DELIVERY-5")
        token = deployment.token("alice")
        one, *others = [await stack.enter_async_context(socket(web, token)) for _ in range(tabs)]
        # All of them: one that is greeted later has the mark in its welcome, and is told of nothing.
        for tab in (one, *others):
            head = (await soon(frame(tab, "welcome")))["head"]
        await one.send(json.dumps({"type": "read", "up_to": head}))
        for other in others:
            told = await soon(frame(other, "read"))
            assert (told["up_to"], told["unread"]) == (head, 0)
    assert "is dropped." in web.log()


@pytest.mark.parametrize(
    ("body", "user", "status"),
    [
        ({"number": "REFUSED-1"}, "staff", 400),
        ({"number": "REFUSED-1", "customer": "newcomer", "status": "lost"}, "staff", 400),
        ({"number": "REFUSED-1", "customer": "newcomer", "colour": "red"}, "staff", 400),
        ({"number": "SO-1001", "customer": "newcomer"}, "staff", 409),
        ({"number": "REFUSED-1", "customer": "newcomer"}, None, 401),
        ({"number": "REFUSED-1", "customer": "newcomer"}, "alice", 403),
    ],
    ids=["bad-body", "unknown-status", "unknown-field", "number-exists", "no-token", "not-allowed"],
)
async def test_an_order_that_cannot_be_created_is_a_problem_and_leaves_nothing(
    body: dict[str, Any], user: str | None, status: int, web: Web, deployment: Deployment
):
    async with api(web, deployment, user) as client, api(web, deployment) as staff:
        before = (await staff.get("/orders/SO-1001")).json()
        answer = await client.post("/orders", json=body)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert answer.json()["status"] == status
        assert (await staff.get("/orders/REFUSED-1")).status_code == 404
        assert (await staff.get("/orders/SO-1001")).json() == before
    count = "from django.contrib.auth.models import User; print(User.objects.filter(username='newcomer').count())"
    assert deployment.manage("shell", "--no-imports", "-c", count).strip() == "0"


async def test_a_task_of_a_celery_worker_reaches_the_socket(deploy: Deploy, embedded: bool):
    # With Redis the hint has to bring it; without, the task runs in a process of which only the tail check learns.
    deployment = deploy(NOTIFICATION_TAIL_SECONDS="0.2" if embedded else "3600")
    web = deployment.web()
    worker = None if embedded else deployment.worker()
    async with socket(web, deployment.token("alice")) as hers:
        await soon(frame(hers, "welcome"))
        task = (
            "from notifications.problems import request_id; from orders.tasks import change_status;"
            "request_id.set('trace-1'); change_status.delay('SO-1001', 'shipped', note='By a task')"
        )
        deployment.manage("shell", "--no-imports", "-c", task)
        told = await soon(frame(hers, "notification"))
    assert (told["order"]["number"], told["order"]["status"], told["note"]) == ("SO-1001", "shipped", "By a task")
    if worker:
        await apoll(lambda: re.search(r"\[trace-1\] Task .* succeeded", worker.log()), saying=worker.log_tail)


async def test_a_change_by_a_command_that_exits_at_once_reaches_the_socket(deploy: Deploy, embedded: bool):
    deployment = deploy(NOTIFICATION_TAIL_SECONDS="0.2" if embedded else "3600")
    web = deployment.web()
    async with socket(web, deployment.token("alice")) as hers:
        await soon(frame(hers, "welcome"))
        command = (
            "from orders.models import Order; order = Order.objects.get(number='SO-1001');"
            "order.status = 'shipped'; order.save()"
        )
        deployment.manage("shell", "--no-imports", "-c", command)
        assert (await soon(frame(hers, "notification")))["order"]["status"] == "shipped"


class Wanderer:
    """A client that is cut off again and again, and comes back with the last number it holds."""

    def __init__(self, web: Web, token: str, welcome: dict[str, Any], orders: dict[str, dict[str, Any]]) -> None:
        self.web, self.token, self.stream = web, token, welcome["stream"]
        self.seqs: list[int] = []
        self.last = welcome["head"]
        self.orders = orders
        self.connections = 0
        self.dice = random.Random(7)

    async def wander(self) -> None:
        """For ever: follow for a while, and be gone without a word, or in order."""
        while True:
            query = f"?after={self.last}&stream={self.stream}"
            async with socket(self.web, self.token, query=query) as connection:
                self.connections += 1
                try:
                    await self._follow(connection, self.dice.randrange(1, 15))
                except ConnectionClosed:
                    continue
                if self.dice.random() < 0.5:
                    connection.transport.abort()

    async def _follow(self, connection: ClientConnection, frames: int) -> None:
        while frames:
            received = await frame(connection)
            assert received["type"] in ("welcome", "notification", "ping"), received
            if received["type"] == "notification":
                frames -= 1
                self.last = received["seq"]
                self.seqs.append(received["seq"])
                order = received["order"]
                if order["version"] > self.orders.get(order["number"], {"version": 0})["version"]:
                    self.orders[order["number"]] = order


async def test_a_client_that_comes_and_goes_holds_every_number_once_and_the_fresh_snapshot(deploy: Deploy):
    """200 changes of one order by several threads; snapshot + delivered = fresh snapshot."""
    deployment = deploy()
    web = deployment.web()
    writers, each = 4, 50
    async with api(web, deployment) as client, api(web, deployment, "alice") as reader:

        async def snapshot() -> dict[str, dict[str, Any]]:
            return {order["number"]: order for order in (await reader.get("/orders")).json()["results"]}

        async with socket(web, deployment.token("alice")) as connection:
            welcome = await soon(frame(connection, "welcome"))
        wanderer = Wanderer(web, deployment.token("alice"), welcome, await snapshot())

        async def write(name: int) -> None:
            for count in range(each):
                # One of them moves it back and forth, the others change what they may.
                step = {"status": "processing" if count % 2 else "on_hold"} if name == 0 else {}
                await change(client, "SO-1001", metadata={"by": name, "count": count}, **step)

        wandering = asyncio.create_task(wanderer.wander())
        try:
            await asyncio.gather(*(write(name) for name in range(writers)))
            expected = list(range(welcome["head"] + 1, welcome["head"] + writers * each + 1))
            await apoll(
                lambda: wandering.done() or len(wanderer.seqs) >= len(expected), saying=lambda: str(wanderer.seqs)
            )
        finally:
            wandering.cancel()
            outcome = await asyncio.gather(wandering, return_exceptions=True)
        assert isinstance(outcome[0], asyncio.CancelledError), outcome
        assert wanderer.seqs == expected
        assert wanderer.connections > 10
        assert wanderer.orders == await snapshot()
