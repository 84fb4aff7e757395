"""WebSocket clients of a served deployment, for tests that speak to one frame by frame."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed


class Served(Protocol):
    @property
    def ws_url(self) -> str: ...


@asynccontextmanager
async def socket(
    web: Served,
    token: str | None = None,
    *,
    path: str = "/ws/notifications",
    query: str = "",
    headers: dict[str, str] | None = None,
    **options: Any,
) -> AsyncIterator[ClientConnection]:
    """A connection to `path`, with a Bearer token or with whatever `headers` and `options` bring."""
    bearer = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{web.ws_url}{path}{query}"
    # The test decides what is sent, and when: no pings of the library's own, no proxy from the environment.
    async with connect(
        url, additional_headers=bearer | (headers or {}), ping_interval=None, proxy=None, **options
    ) as connection:
        yield connection


async def frame(connection: ClientConnection, of_type: str | None = None) -> dict[str, Any]:
    """The next frame; with a type, the next of that type, whatever comes before it."""
    while True:
        received: dict[str, Any] = json.loads(await connection.recv())
        if of_type is None or received["type"] == of_type:
            return received


async def close_code(connection: ClientConnection) -> int:
    """The code with which the server closes, however many frames come before."""
    with suppress(ConnectionClosed):
        while True:
            await connection.recv()
    assert connection.close_code not in (None, 1006), "the connection broke off without a close frame"
    return int(connection.close_code or 0)
