"""Something to tell, and somebody to listen."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import pytest
from channels.layers import channel_layers
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from notifications.access.credentials import Credential
from notifications.database import DatabaseThreads
from notifications.delivery.hub import Hub
from notifications.delivery.subscriber import Subscriber
from notifications.hints import publish
from notifications.log import stream
from notifications.protocol import CloseCode
from tests.polling import apoll

T = TypeVar("T")


def event(user: User, note: str = "", thing: dict[str, Any] | None = None) -> stream.Event:
    return stream.Event(
        user_id=user.pk, kind="thing.changed", at=timezone.now(), body={"thing": thing or {"key": "A"}, "note": note}
    )


def tell(user: User, count: int = 1, *, note: str = "") -> None:
    """Append that many notifications to the user's stream, in one transaction."""
    with transaction.atomic():
        stream.append([event(user, note) for _ in range(count)])


def tell_one_by_one(user: User, count: int) -> None:
    """Append that many notifications, each in a transaction of its own."""
    for _ in range(count):
        tell(user)


def numbers(user: User, after: int = 0) -> list[int]:
    """The numbers in the user's log."""
    return [entry.seq for entry in stream.read_after({user.pk: after}, limit=100_000)[user.pk]]


class Database:
    """The database for async tests: `await database(function, *arguments)`, on one thread that keeps its connection."""

    def __init__(self) -> None:
        self.threads = DatabaseThreads("test")

    async def __call__(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        return await self.threads.run(function, *arguments, **named)


@pytest.fixture
async def database(transactional_db: None) -> AsyncIterator[Database]:
    database = Database()
    yield database
    await database.threads.close()


@pytest.fixture
async def serving() -> AsyncIterator[None]:
    """Hints are sent on the test's loop, as on a server's."""
    publish.use_loop(asyncio.get_running_loop())
    yield
    publish.use_loop(None)


@contextmanager
def published_to(layer: Any) -> Iterator[None]:
    """Hints go to that layer meanwhile."""
    before = channel_layers.set("default", layer)
    try:
        yield
    finally:
        if before is None:  # none was made before: the next one who asks gets the settings' own
            channel_layers.backends.pop("default", None)
        else:
            channel_layers.set("default", before)


class Client:
    """A client of the hub: the frames that it got, and whether it reads at all."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.subscriber: Subscriber

    async def send(self, text: str) -> None:
        await self.reads.wait()
        self.texts.append(text)
        self.frames.append(json.loads(text))

    def of_type(self, type_: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] == type_]

    @property
    def seqs(self) -> list[int]:
        """The numbers that were delivered, in their order."""
        return [frame["seq"] for frame in self.of_type("notification")]

    async def gets(self, seqs: Iterable[int]) -> None:
        """Wait until as many numbers are here, and see that they are exactly these."""
        expected = list(seqs)
        await apoll(lambda: len(self.seqs) >= len(expected), saying=lambda: f"{expected}, not {self.seqs}")
        assert self.seqs == expected

    async def greeted(self) -> dict[str, Any]:
        """The `welcome`."""
        await apoll(lambda: self.frames, saying="a welcome")
        assert self.frames[0]["type"] == "welcome"
        return self.frames[0]

    async def closed(self) -> CloseCode | None:
        """The code with which the hub lets it go."""
        await apoll(self.subscriber.closed.done, saying="a close")
        return self.subscriber.closed.result()


@asynccontextmanager
async def following(
    hub: Hub, user: User, *, credential: Credential | None = None, **options: Any
) -> AsyncIterator[Client]:
    """A client that follows the user's stream meanwhile, as a connection does, and has been greeted."""
    client = Client()
    credential = credential or Credential(user.pk, user.get_username(), "session:test", None, timezone.now())
    async with hub.subscribe(credential=credential, send=client.send, **options) as subscriber:
        client.subscriber = subscriber
        writing = asyncio.create_task(subscriber.outbox.write())
        try:
            await client.greeted()
            yield client
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)


@asynccontextmanager
async def running(layer: Any, **options: Any) -> AsyncIterator[Hub]:
    """A hub on that layer, from its start to its stop."""
    hub = Hub(layer, **options)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()
