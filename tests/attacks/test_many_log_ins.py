"""Many log in at once: on a served deployment, where a password takes its real time to hash."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest

from config import login_queue
from tests.deployment import Deployment, Web
from tests.polling import apoll

UNLIMITED = {"LOGIN_RATE": "off", "LOGIN_RATE_PER_ADDRESS": "off"}


class Crowd:
    """Log-ins with wrong passwords, all sent at once."""

    def __init__(self, client: httpx.AsyncClient, form: dict[str, str]) -> None:
        self.client = client
        self.form = form
        self.tasks: list[asyncio.Task[httpx.Response]] = []

    def send(self, number: int, path: str = "/login") -> None:
        self.tasks += [asyncio.create_task(self.client.post(path, data=self.form)) for _ in range(number)]

    def answered(self, status: int = 200) -> int:
        return sum(task.done() and task.result().status_code == status for task in self.tasks)


async def crowd(client: httpx.AsyncClient) -> Crowd:
    page = await client.get("/login")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token
    return Crowd(client, {"username": "alice", "password": "wrong", "csrfmiddlewaretoken": token[1]})


def client_of(web: Web) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=web.url, timeout=60, limits=httpx.Limits(max_connections=None))


@pytest.mark.parametrize("path", ["/login", "/admin/login/"])
async def test_the_api_answers_while_log_ins_wait(deploy: type, path: str) -> None:
    deployment: Deployment = deploy(**UNLIMITED)
    headers = {"Authorization": f"Bearer {deployment.token('alice')}"}
    async with client_of(deployment.web()) as client:
        people = await crowd(client)
        people.send(12, path)
        await apoll(lambda: people.answered() > 0)
        for _ in range(3):
            assert (await client.get("/api/v1/orders", headers=headers)).status_code == 200
        assert people.answered() < 9
        await asyncio.gather(*people.tasks)
        assert people.answered() == 12


async def test_who_would_wait_too_long_is_told_so_at_once(deploy: type) -> None:
    deployment: Deployment = deploy(WEB_THREADS="3", **UNLIMITED)
    async with client_of(deployment.web()) as client:
        people = await crowd(client)
        people.send(login_queue.WAITING_PER_ADDRESS + login_queue.AT_ONCE + 5)
        await apoll(lambda: people.answered(503) == 5)
        [busy] = {task.result().text for task in people.tasks if task.done() and task.result().status_code == 503}
        assert "Try again" in busy
        # The others are logged in one after the other.
        await apoll(lambda: people.answered() > 1)
        for task in people.tasks:
            task.cancel()
        await asyncio.gather(*people.tasks, return_exceptions=True)
