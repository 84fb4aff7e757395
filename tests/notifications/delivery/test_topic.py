"""A topic's watchers are told the latest state of what changes, whatever breaks meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError

from notifications import protocol
from notifications.delivery.hub import Hub
from notifications.delivery.topic import State, Topic, Watchers
from notifications.hints import publish
from notifications.protocol import CloseCode
from tests.notifications.conftest import Client, Database, following, published_to
from tests.notifications.delivery.conftest import NEVER, SOON
from tests.polling import apoll

pytestmark = pytest.mark.usefixtures("serving")


class Things:
    """An application with things that change, and with functions that fail as often as they are told to."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.reads: list[list[str]] = []
        self.errors: dict[str, list[Exception]] = {"admits": [], "changed_since": [], "states": []}
        self.shut_out: set[Any] = set()
        self.topic = Topic(
            "things", admits=self.admits, changed_since=self.changed_since, states=self.states, gone=self.gone
        )

    def _fail(self, what: str) -> None:
        if self.errors[what]:
            raise self.errors[what].pop(0)

    def admits(self, users: Collection[Any]) -> set[Any]:
        self._fail("admits")
        return set(users) - self.shut_out

    def changed_since(self, _moment: datetime) -> dict[str, int]:
        self._fail("changed_since")
        return dict(self.versions)

    def states(self, keys: Collection[str]) -> dict[str, State]:
        self._fail("states")
        self.reads.append(list(keys))
        return {
            key: State(self.versions[key], protocol.frame("thing", key=key, version=self.versions[key]))
            for key in keys
            if key in self.versions
        }

    def gone(self, key: str) -> str | None:
        return None if key == "unknown" else protocol.frame("gone", key=key)

    def change(self, key: str) -> int:
        """Silently; gives the new version."""
        self.versions[key] = self.versions.get(key, 0) + 1
        return self.versions[key]

    async def announce(self, database: Database, *keys: str) -> None:
        await database(publish.on_commit, publish.Touched(self.topic.name, keys))


class SometimesFails(InMemoryChannelLayer):
    """The in-memory layer, whose next `receive` raises what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[BaseException] = []

    async def receive(self, channel: str) -> Any:
        received = await super().receive(channel)
        if self.errors:
            raise self.errors.pop(0)
        return received


@pytest.fixture
async def layer() -> AsyncIterator[SometimesFails]:
    layer = SometimesFails()
    with published_to(layer):
        yield layer


@pytest.fixture
def things() -> Things:
    return Things()


@pytest.fixture
async def watchers(things: Things, layer: SometimesFails) -> AsyncIterator[Watchers]:
    watchers = Watchers(things.topic, layer)
    yield watchers
    await watchers.stop()


@asynccontextmanager
async def watching(hub: Hub, watchers: Watchers, user: User) -> AsyncIterator[Client]:
    """A client that watches the topic beside its own stream, as a consumer lets it."""
    async with watchers.open(), following(hub, user) as client:
        with watchers.watched_by(client.subscriber):
            yield client


async def told(client: Client, key: str, version: int) -> None:
    """Wait until the client has been told that version, as the last."""

    def versions() -> list[int]:
        return [frame["version"] for frame in client.of_type("thing") if frame["key"] == key]

    await apoll(lambda: versions()[-1:] == [version], saying=lambda: f"{key} {version}, not {versions()}")


async def test_a_hint_brings_the_latest_state_to_every_watcher(
    hub: Hub, watchers: Watchers, things: Things, alice: User, bob: User, database: Database, settings: Any
):
    settings.NOTIFICATION_TAIL_SECONDS = NEVER
    async with watching(hub, watchers, alice) as hers, watching(hub, watchers, bob) as his:
        for key in ("a", "b"):
            things.change(key)
        await things.announce(database, "a", "b", "unknown")
        for client in (hers, his):
            await told(client, "a", 1)
            await told(client, "b", 1)
        for _ in range(50):
            things.change("a")
        await things.announce(database, *["a"] * 50)
        for client in (hers, his):
            await told(client, "a", 51)
            assert len(client.of_type("thing")) == 3


async def test_what_is_gone_is_told_and_may_come_again(
    hub: Hub, watchers: Watchers, things: Things, alice: User, database: Database, settings: Any
):
    settings.NOTIFICATION_TAIL_SECONDS = NEVER
    async with watching(hub, watchers, alice) as client:
        things.change("a")
        await things.announce(database, "a")
        await told(client, "a", 1)
        del things.versions["a"]
        await things.announce(database, "a")
        await apoll(lambda: [frame["key"] for frame in client.of_type("gone")] == ["a"], saying="that a is gone")
        things.change("a")
        await things.announce(database, "a")
        await apoll(lambda: len(client.of_type("thing")) == 2, saying="a, again")


async def test_what_no_hint_announced_is_found_and_told_once(
    hub: Hub, watchers: Watchers, things: Things, alice: User, settings: Any
):
    settings.NOTIFICATION_TAIL_SECONDS = SOON
    async with watching(hub, watchers, alice) as client:
        things.change("a")
        await told(client, "a", 1)
        things.change("b")
        await told(client, "b", 1)
        assert [frame["key"] for frame in client.of_type("thing")] == ["a", "b"]


@pytest.mark.parametrize("what", ["admits", "changed_since", "states"])
@pytest.mark.parametrize(
    "error", [InterfaceError("connection already closed"), OperationalError("gone"), ZeroDivisionError("of ours")]
)
async def test_no_error_of_the_database_or_of_the_application_ends_the_telling(
    what: str,
    error: Exception,
    hub: Hub,
    watchers: Watchers,
    things: Things,
    alice: User,
    settings: Any,
):
    """`InterfaceError` is no `DatabaseError`: one of them would end the loop, and nobody would hear of it."""
    settings.NOTIFICATION_TAIL_SECONDS = SOON
    async with watching(hub, watchers, alice) as client:
        things.change("a")
        await told(client, "a", 1)
        things.errors[what].append(error)
        await apoll(lambda: things.change("a") and not things.errors[what], saying="the error")
        await told(client, "a", things.versions["a"])
        await apoll(lambda: not watchers.supervisor.down)


@pytest.mark.parametrize("error", [OSError("Redis has gone"), RuntimeError("of theirs")])
async def test_a_layer_that_fails_once_is_listened_to_again(
    error: Exception,
    hub: Hub,
    watchers: Watchers,
    things: Things,
    layer: SometimesFails,
    alice: User,
    database: Database,
    settings: Any,
):
    settings.NOTIFICATION_TAIL_SECONDS = NEVER
    async with watching(hub, watchers, alice) as client:
        layer.errors.append(error)
        await things.announce(database, "a")
        await apoll(lambda: not layer.errors, saying="the failure")

        async def is_told() -> bool:
            things.change("a")
            await things.announce(database, "a")
            return bool(client.of_type("thing"))

        await apoll(is_told, saying="a frame")


async def test_a_hint_that_makes_no_sense_does_not_end_the_listening(
    hub: Hub, watchers: Watchers, things: Things, layer: SometimesFails, alice: User, database: Database, settings: Any
):
    settings.NOTIFICATION_TAIL_SECONDS = NEVER
    async with watching(hub, watchers, alice) as client:
        for nonsense in ({}, {"type": "topic.touched"}, {"type": "topic.touched", "keys": 7}, {"keys": [None]}):
            await layer.group_send("things", nonsense)
        things.change("a")
        await things.announce(database, "a")
        await told(client, "a", 1)


async def test_a_user_who_may_not_watch_any_more_is_closed(
    hub: Hub, watchers: Watchers, things: Things, alice: User, bob: User, settings: Any
):
    settings.NOTIFICATION_TAIL_SECONDS = SOON
    async with watching(hub, watchers, alice) as hers, watching(hub, watchers, bob) as his:
        things.shut_out.add(bob.pk)
        assert await his.closed() is CloseCode.NOT_ALLOWED
        assert not hers.subscriber.closed.done()
        assert not await watchers.admits(bob.pk)


async def test_nothing_is_read_while_nobody_watches(
    hub: Hub, watchers: Watchers, things: Things, layer: SometimesFails, alice: User, settings: Any
):
    settings.NOTIFICATION_TAIL_SECONDS = SOON
    for _ in range(2):  # it begins again
        async with watching(hub, watchers, alice) as client:
            things.change("a")
            await told(client, "a", things.versions["a"])
        assert "things" not in layer.groups
        assert watchers.supervisor.down == []
        assert not watchers._watchers


async def test_two_topics_of_one_process_do_not_mix(
    hub: Hub, watchers: Watchers, things: Things, layer: SometimesFails, alice: User, database: Database, settings: Any
):
    settings.NOTIFICATION_TAIL_SECONDS = NEVER
    others = Things()
    others.topic = Topic("others", admits=others.admits, changed_since=others.changed_since, states=others.states)
    other_watchers = Watchers(others.topic, layer)
    async with watching(hub, watchers, alice) as one, watching(hub, other_watchers, alice) as other:
        things.change("a")
        await things.announce(database, "a")
        await told(one, "a", 1)
        others.change("b")
        await others.announce(database, "b")
        await told(other, "b", 1)
        assert [frame["key"] for frame in one.of_type("thing")] == ["a"]
        assert [frame["key"] for frame in other.of_type("thing")] == ["b"]
    await other_watchers.stop()
