"""How many connections a web process opens, whatever is asked of it."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, closing
from typing import Any

import httpx
import psycopg
import pytest

from tests.conftest import Deploy
from tests.database import on_postgres
from tests.deployment import Web
from tests.polling import PATIENCE
from tests.sockets import frame, socket

#: What docs/operations.md says of a web process with the default of WEB_THREADS.
BY_DEFAULT = 4
#: And without Redis.
FOR_HINTS = 1
#: Callers and rounds of the load: several times as many as there are threads.
CALLERS, ROUNDS = 8, 2


#: Connections of clients to this database, the asking one left out.
OPENED = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def opened(asking: psycopg.Connection[Any]) -> int:
    [count] = asking.execute(OPENED).fetchone() or [0]
    return int(count)


async def follow(web: Web, token: str, path: str) -> None:
    """A handshake, a reading mark, and the end."""
    async with socket(web, token, path=path) as connection:
        welcome = await frame(connection, "welcome")
        await connection.send(json.dumps({"type": "read", "up_to": welcome["head"]}))


async def load(web: Web, token: str) -> None:
    """Everything that a web process does, at once."""
    headers = {"Authorization": f"Bearer {token}"}
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=web.url, headers=headers, timeout=PATIENCE))
        for path in ("/ws/notifications", "/ws/board"):
            watching = await stack.enter_async_context(socket(web, token, path=path))
            await frame(watching, "welcome")

        async def call(caller: int) -> None:
            for step in range(ROUNDS):
                change = {"carrier": f"{caller}-{step}"}
                answers = await asyncio.gather(
                    http.patch(f"/api/v1/orders/SO-100{caller % 2 + 1}", json=change),
                    http.get("/api/v1/snapshot"),
                    http.get("/readyz"),
                    http.get("/api/v1/notifications?after=0&wait=0.1"),
                )
                assert {answer.status_code for answer in answers} == {200}
                await follow(web, token, "/ws/board" if caller % 2 else "/ws/notifications")

        await asyncio.gather(*map(call, range(CALLERS)))


@on_postgres
@pytest.mark.parametrize("without_redis", [{}, {"REDIS_URL": None}], ids=["redis", "postgres alone"])
async def test_a_web_process_opens_as_many_connections_as_are_documented(
    deploy: Deploy, without_redis: dict[str, None]
) -> None:
    deployment = deploy(MAX_SOCKETS_PER_USER="100", **without_redis)
    documented = BY_DEFAULT + FOR_HINTS * bool(without_redis)
    token = deployment.token("staff")
    web = deployment.web()
    with closing(psycopg.connect(deployment.database_url, autocommit=True)) as asking:
        loading = asyncio.create_task(load(web, token))
        most = 0
        while not loading.done():
            most = max(most, await asyncio.to_thread(opened, asking))
        await loading
    assert most == documented
    assert f"This process opens up to {documented} connections to the database" in web.log()
