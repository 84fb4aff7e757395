"""A poll waits for what its answer can hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from django.utils import timezone

from notifications.access.credentials import Credential
from notifications.hints import publish
from notifications.log import stream
from notifications.sockets.polling import LongPoll
from tests.notifications.conftest import Database, tell
from tests.notifications.sockets.conftest import an_engine
from tests.polling import apoll


async def test_what_is_said_aside_ends_no_poll(database: Database, users: Callable[..., Any]):
    [alice] = await users("alice")
    uid = (await database(stream.position, alice.pk)).uid
    answered = asyncio.Event()

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        answered.set()

    requests: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    requests.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    async with an_engine() as engine:
        credential = Credential(alice.pk, "alice", "session:test", None, timezone.now())
        scope = {
            "type": "http",
            "method": "GET",
            "query_string": b"after=0&wait=25",
            "credential": credential,
            "state": engine.state,
        }
        polling = asyncio.create_task(LongPoll(inner)._poll(scope, requests.get, None))
        hub = engine.state["hub"]
        await apoll(lambda: hub.size == 1, saying="the poll waits")
        async with engine.connect(alice) as socket:
            for count in (1, 2, 3):
                await database(publish.on_commit, publish.Aside(alice.pk, uid, "typing", {"who": "ada"}))
                await socket.gets("typing", count)
            assert hub.size == 2
            assert not answered.is_set()
            await database(tell, alice)
            await socket.gets("notification")
        await apoll(answered.is_set, saying="the poll is answered")
        await polling
