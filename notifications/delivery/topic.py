"""A topic: its watchers are told the latest state of each thing of it that changes.

The application says what a topic is (`Topic`): what it is called, who may watch, what has changed lately and what has
become of it. Whatever changes a thing publishes `publish.Touched(topic.name, keys)`. `Watchers`, one for each topic and
server process, does the rest. What travels between processes is that a thing has changed; its state is read once for
all watchers of the process, at most every `PACE` seconds. A thing that changes faster is told less often, always with
its latest state.

A topic's watchers also get what is said aside to them (`publish.TopicAside`): frames that are not kept.

Best effort by contract: states are not numbered and nothing is replayed, so a watcher reads everything over HTTP after
every connect. What no hint announced is found by a look at what changed lately. A user who may not watch any more is
closed with 4505. Nothing runs and nothing is read while nobody watches. A watcher follows its own stream as well, so
the `hub` greets, pings, drains and revokes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from channels.layers import BaseChannelLayer
from django.db import Error
from django.utils import timezone

from notifications import protocol
from notifications.conf import settings
from notifications.database import SharedThreads
from notifications.delivery.subscriber import Subscriber
from notifications.hints import publish
from notifications.hints.messages import OfTopic
from notifications.protocol import CloseCode
from notifications.supervision import Supervisor

logger = logging.getLogger(__name__)

#: Seconds between two looks at what has changed: people see it at once, and a burst costs four queries a second.
PACE = 0.25
#: Things read at a time, some 100 KiB of frames.
READ_TOGETHER = 200
#: How far the look at what changed lately reaches back beyond the previous one: a transaction that commits later than
#: that after its write, or a clock further off, is left to the next time the watcher reads everything.
OVERLAP = timedelta(seconds=10)
#: Seconds that a handshake waits for the group to be joined, and the end of listening for it to be left. Without it the
#: look at what changed goes on.
JOIN_TIMEOUT = 1.0
#: Seconds of rest after the database or the channel layer failed.
RETRY_SECONDS = 1.0


class State(NamedTuple):
    """What has become of a thing: a version, which grows, and the frame that tells of it (`protocol.frame`)."""

    version: int
    frame: str


@dataclass(frozen=True)
class Topic:
    """What the application says of a topic. The functions run beside the event loop, one at a time, and may query."""

    #: Names the group: ASCII letters, digits, `-_.`, and no user's (`user.…`).
    name: str
    #: Those of these users, by primary key, that may watch.
    admits: Callable[[Collection[Any]], Collection[Any]]
    #: What has changed at or after a moment: versions by key.
    changed_since: Callable[[datetime], Mapping[str, int]]
    #: The states of these things now, by key; what is gone is left out.
    states: Callable[[Collection[str]], Mapping[str, State]]
    #: The frame that tells that a thing is gone; None if nobody has to know.
    gone: Callable[[str], str | None] = lambda _key: None


class Watchers:
    """This process's watchers of one topic. On one event loop, and not thread-safe."""

    def __init__(self, topic: Topic, layer: BaseChannelLayer) -> None:
        self._topic = topic
        self._layer = layer
        self._group = publish.Touched(topic.name, ()).group
        #: What each watcher is still to be told: frames by key.
        self._watchers: dict[Subscriber, dict[str, str]] = {}
        #: The keys of things that have changed and are still to be read.
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        #: The versions that were told lately, so that no look tells them again.
        self._told: dict[str, int] = {}
        self._database = SharedThreads(topic.name)
        self.supervisor = Supervisor(topic.name)
        self._open = 0
        self._joined = asyncio.Event()

    async def admits(self, user_id: Any) -> bool:
        """Whether the user may watch; raises `django.db.Error`."""
        return user_id in await self._database.run(self._topic.admits, {user_id})

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hear of changes while the context lasts. It begins before the greeting, so that nothing falls in between."""
        self._open += 1
        if self._open == 1:
            self._joined = asyncio.Event()  # not the one of a listener that is still ending
            self.supervisor.start(listen=self._listen, look=self._look, tell=self._tell)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(JOIN_TIMEOUT):
                    await self._joined.wait()
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._changed.clear()
                self._told.clear()
                await self.supervisor.stop()

    @contextmanager
    def watched_by(self, subscriber: Subscriber) -> Iterator[None]:
        """Tell this client of the topic while the context lasts."""
        self._watchers[subscriber] = {}
        try:
            yield
        finally:
            del self._watchers[subscriber]

    async def stop(self) -> None:
        """Called when the last watcher is gone."""
        await self.supervisor.stop()
        await self._database.close()

    def _note(self, keys: Iterable[str]) -> None:
        self._changed.update(keys)
        self._wake.set()

    async def _listen(self) -> None:
        """Receive what processes announce, for ever."""
        joined = self._joined
        while True:
            try:
                # A channel of its own each time: a layer forgets the one whose `receive` was cancelled.
                channel = await self._layer.new_channel()
                try:
                    await self._layer.group_add(self._group, channel)
                    joined.set()
                    while True:
                        self._hear(await self._layer.receive(channel))
                finally:
                    joined.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(JOIN_TIMEOUT):
                            await self._layer.group_discard(self._group, channel)
            except Exception as error:  # whatever the layer raises; the look at what changed goes on
                logger.warning("The topic %s hears nothing from the channel layer: %r", self._topic.name, error)
                await asyncio.sleep(RETRY_SECONDS)

    def _hear(self, message: OfTopic) -> None:
        try:
            if message["type"] == "topic.aside":
                self._say(protocol.aside(message["of"], message["fields"]))
            else:
                self._note([str(key) for key in message["keys"]])
        except (KeyError, TypeError, ValueError) as error:  # another version's, in the middle of a deploy
            logger.warning("A hint makes no sense, the look at what changed will repair: %r", error)

    def _say(self, frame: str) -> None:
        for subscriber in self._watchers:
            if subscriber.position is not None:
                subscriber.outbox.put(frame)

    async def _look(self) -> None:
        """Every so often: what has changed and was not told, and who may not watch any more? For ever."""
        since = timezone.now()
        while True:
            await asyncio.sleep(settings.NOTIFICATION_TAIL_SECONDS)
            looked_at = timezone.now()
            try:
                versions = await self._database.run(self._topic.changed_since, since - OVERLAP)
                watching = {subscriber.credential.user_id for subscriber in self._watchers}
                admitted = await self._database.run(self._topic.admits, watching) if watching else ()
            except Error as error:
                logger.warning("The topic %s cannot look for changes: %r", self._topic.name, error)
                continue
            since = looked_at
            for subscriber in self._watchers:
                if subscriber.credential.user_id in watching.difference(admitted):
                    subscriber.close(CloseCode.NOT_ALLOWED)
            self._told = {key: self._told[key] for key in versions.keys() & self._told.keys()}
            self._note(key for key, version in versions.items() if self._told.get(key) != version)

    async def _tell(self) -> None:
        """Read what has changed and hand it to the outboxes, at most every `PACE` seconds. For ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            keys = [self._changed.pop() for _ in range(min(READ_TOGETHER, len(self._changed)))]
            try:
                states = await self._database.run(self._topic.states, keys) if keys else {}
            except Error as error:
                logger.warning("The topic %s cannot be read, again in %s s: %r", self._topic.name, RETRY_SECONDS, error)
                self._note(keys)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            frames = {key: state.frame for key, state in states.items()}
            frames |= {key: frame for key in keys if key not in states and (frame := self._topic.gone(key))}
            for key in keys:
                self._told.pop(key, None)  # what is gone may come again, at a version that was told before
            self._told |= {key: state.version for key, state in states.items()}
            for waiting in self._watchers.values():
                waiting.update(frames)
            for subscriber, waiting in self._watchers.items():
                _hand_over(subscriber, waiting)
            if self._changed or any(self._watchers.values()):
                self._wake.set()
            await asyncio.sleep(PACE)


def _hand_over(subscriber: Subscriber, waiting: dict[str, str]) -> None:
    """Fill the outbox as far as it goes; what does not fit waits, and is replaced if the thing changes again."""
    if subscriber.position is None:
        return  # `welcome` comes first
    for key in list(waiting):
        if not subscriber.outbox.put(waiting[key]):
            return
        del waiting[key]
