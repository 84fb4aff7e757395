"""A WebSocket to a consumer of the engine's, in the test's own process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from notifications.access.credentials import Credential
from notifications.delivery.topic import Topic
from notifications.sockets.consumers import NotificationConsumer, TopicConsumer
from notifications.sockets.inbound import ClientFrame
from notifications.sockets.lifespan import engine
from tests.notifications.conftest import Database, published_to
from tests.notifications.delivery.conftest import in_memory
from tests.polling import apoll


class Socket:
    """The client's end: what it was sent, and how it was closed."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.code: int | None = None
        self._inbound: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(self) -> dict[str, Any]:
        return await self._inbound.get()

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            self.frames.append(json.loads(message["text"]))
        elif message["type"] == "websocket.close":
            self.code = message["code"]

    def says(self, type_: str, **fields: Any) -> None:
        self.says_text(json.dumps({"type": type_, **fields}, ensure_ascii=False))

    def says_text(self, text: str) -> None:
        self._inbound.put_nowait({"type": "websocket.receive", "text": text})

    def arrives(self) -> None:
        self._inbound.put_nowait({"type": "websocket.connect"})

    def leaves(self) -> None:
        self._inbound.put_nowait({"type": "websocket.disconnect"})

    def of_type(self, type_: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] == type_]

    async def gets(self, type_: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for that many frames of a type, counted from the beginning."""
        await apoll(lambda: len(self.of_type(type_)) >= count, saying=lambda: f"{count} {type_}, not {self.frames}")
        return self.of_type(type_)

    async def closed(self) -> int:
        """The code that it is closed with."""
        await apoll(lambda: self.code is not None, saying="a close")
        return self.code or 0


Connect = Callable[..., AbstractAsyncContextManager[Socket]]


class Engine:
    """A process's engine: sockets to it are opened by `connect`."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    @asynccontextmanager
    async def connect(self, user: User, *, query: str = "", topic: str | None = None) -> AsyncIterator[Socket]:
        """A greeted client of that user's; on a topic of that name."""
        socket = Socket()
        credential = Credential(user.pk, user.get_username(), "session:test", None, timezone.now())
        scope = {
            "type": "websocket",
            "query_string": query.encode(),
            "subprotocols": [],
            "credential": credential,
            "state": self.state,
        }
        consumer = NotificationConsumer() if topic is None else TopicConsumer(topic=topic)
        serving = asyncio.create_task(consumer(scope, socket.receive, socket.send))
        socket.arrives()
        try:
            await socket.gets("welcome")
            yield socket
        finally:
            socket.leaves()
            async with asyncio.timeout(10):
                await serving


@asynccontextmanager
async def an_engine(*, topics: Sequence[Topic] = (), frames: Sequence[ClientFrame] = ()) -> AsyncIterator[Engine]:
    """An engine with these on an in-memory layer, from its start to its stop."""
    with published_to(in_memory()):
        state: dict[str, Any] = {}
        async with engine(state, topics, frames):
            yield Engine(state)


@pytest.fixture
async def users(database: Database) -> Callable[..., Any]:
    """Makes users by their names."""

    async def make(*names: str) -> list[User]:
        return [await database(User.objects.create_user, name) for name in names]

    return make
