"""The hub: one for each server process; it knows this process's clients by user, and keeps each of them in order.

How a notification gets from the log to a client, in one place:

- A *hint* (`publish`) arrives on the process's one channel (`membership`). A client that holds number n is sent n+1
  from the hint itself, without a look at the database. What it has seen is dropped. Anything else is a gap (`cursor`).
- A client with a gap is *behind* (`backlog`). One task reads the log for all that are behind, in one query, until none
  is. A newcomer that resumes, a client whose hint was lost and a slow reader whose outbox has drained are all the same
  case: their position is less than the head.
- The *tail check* asks the database which heads have moved, and so finds what no hint announced.

The group is joined before the log is read, and a hint that arrives in between moves the feed's head: nothing falls
between replay and live. Delivery never waits: frames go into bounded outboxes (`outbox`), so one slow reader delays
nobody. Pings, stalled clients and the good-bye are `upkeep`'s.

The hub does no authentication and knows no HTTP; `connection` calls it. It runs on one event loop and is not
thread-safe; its database work runs on one thread of its own, whose connection it keeps.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from channels.layers import BaseChannelLayer
from django.conf import settings
from django.db import Error

from notifications.access.credentials import Credential
from notifications.database import DatabaseThreads
from notifications.delivery import tail
from notifications.delivery.backlog import Backlog
from notifications.delivery.membership import Membership
from notifications.delivery.messages import Appended, MarkedRead, OfStream, Revoked
from notifications.delivery.outbox import Outbox, Send
from notifications.delivery.subscriber import Feed, Subscriber
from notifications.delivery.upkeep import PING_SECONDS, Upkeep
from notifications.log import stream
from notifications.log.stream import Position
from notifications.protocol import CloseCode, Entry
from notifications.supervision import Supervisor

logger = logging.getLogger(__name__)

#: Clients whose log is read in one query; with `stream.PAGE` entries each it stays below some 7 MiB.
READ_TOGETHER = 50
#: Seconds of rest after the database failed.
RETRY_SECONDS = 1.0


class Refused(Exception):
    """No further client can follow here now; `code` says why."""

    def __init__(self, code: CloseCode) -> None:
        self.code = code
        super().__init__(code.name)


class Hub:
    """See the module's docstring. `start` before the first client, `stop` after the last."""

    def __init__(
        self, layer: BaseChannelLayer, *, tail_seconds: float | None = None, ping_seconds: int = PING_SECONDS
    ) -> None:
        #: Seconds between two tail checks: how long a notification whose hint was lost can be late.
        self._tail_seconds = settings.NOTIFICATION_TAIL_SECONDS if tail_seconds is None else tail_seconds
        #: By the user's key as a text: hints come as JSON or the like, where any other type may turn into one.
        self._feeds: dict[str, Feed] = {}
        self._membership = Membership(layer, self._feeds)
        self._backlog = Backlog()
        self._upkeep = Upkeep(self._look_again, ping_seconds=ping_seconds)
        self._database = DatabaseThreads("hub")
        self.supervisor = Supervisor("hub")

    # -- Life of the hub -------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many clients there are."""
        return self._upkeep.size

    @property
    def draining(self) -> bool:
        """Whether the process is about to stop: readiness fails, and newcomers are sent elsewhere."""
        return self._upkeep.draining

    async def start(self) -> None:
        # Before the first client, whose group would otherwise be joined only by `tend`, and hear no hints until then.
        await self._membership.open()
        self.supervisor.start(
            listen=self._listen,
            read_log=self._read_log,
            check_tail=self._check_tail,
            tend_groups=partial(self._membership.tend, self._tail_seconds),
            heartbeat=self._upkeep.heartbeat,
            look_ahead=self._upkeep.look_ahead,
        )

    async def stop(self) -> None:
        await self.supervisor.stop()
        await self._database.close()

    async def drain(self, seconds: float) -> None:
        """Say good-bye to everybody, evenly over `seconds`, and let nobody in any more."""
        await self._upkeep.drain(seconds)

    # -- Clients ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def subscribe(
        self,
        *,
        credential: Credential,
        send: Send,
        after: int | None = None,
        stream_uid: str | None = None,
        answers_pings: bool = True,
    ) -> AsyncIterator[Subscriber]:
        """Follow the stream of the credential's user while the context lasts, from after `after`, or from now on.

        Frames begin with `welcome`; when `after` cannot be served, `reset` is next. They are written with `send` while
        the caller runs `subscriber.outbox.write()`. When `subscriber.closed` is done the caller leaves the context.

        Raises `Refused` with the close code when the process has too many clients already, or is about to stop.
        """
        if self.draining:
            raise Refused(CloseCode.DRAIN)
        if self.size >= settings.MAX_SOCKETS:
            raise Refused(CloseCode.BUSY)
        feed = self._feeds.setdefault(str(credential.user_id), Feed(credential.user_id))
        _make_room(feed)
        outbox = Outbox(send, drained=lambda: self._backlog.drained(subscriber))
        subscriber = Subscriber(
            feed, credential, outbox, after=after, stream_uid=stream_uid, answers_pings=answers_pings
        )
        feed.subscribers.add(subscriber)
        slot = self._upkeep.add(subscriber)
        try:
            await self._membership.join(feed)
            self._backlog.add(subscriber)
            yield subscriber
        finally:
            subscriber.close(None)
            self._upkeep.remove(subscriber, slot)
            feed.subscribers.discard(subscriber)
            self._backlog.discard(subscriber)

    # -- Hints -----------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Receive this process's hints, for ever."""
        while True:
            message = await self._membership.receive()
            try:
                self._hear(message)
            except Exception as error:  # another version's, in the middle of a deploy: it may hold anything
                logger.warning("A hint makes no sense, the tail check will repair: %r", error)

    def _hear(self, message: OfStream) -> None:
        feed = self._feeds.get(str(message["user"]))
        if feed is None:
            return
        if message["type"] == "stream.appended":
            self._appended(feed, message)
        elif message["type"] == "stream.read":
            self._marked_read(feed, message)
        elif message["type"] == "stream.revoked":
            self._revoked(feed, message)

    def _appended(self, feed: Feed, message: Appended) -> None:
        uid, entries = message["uid"], message["entries"]
        feed.head = head = max(feed.head, message["head"])
        for subscriber in feed.subscribers:
            if subscriber.take(uid, entries, head):
                self._backlog.add(subscriber)
            else:
                self._backlog.discard(subscriber)

    def _marked_read(self, feed: Feed, message: MarkedRead) -> None:
        if message.get("uid", feed.uid) == feed.uid:  # otherwise the numbers are of another stream
            feed.mark_read(message["up_to"], message["unread"])

    def _revoked(self, feed: Feed, message: Revoked) -> None:
        if message.get("uid", feed.uid) == feed.uid:  # otherwise it is of another deployment on the same Redis
            for subscriber in feed.subscribers:
                subscriber.revoke(message["key"], message["at"])

    # -- The log ---------------------------------------------------------------------------------------------------

    async def _read_log(self) -> None:
        """Read the log for all that are behind, again and again, for ever."""
        while True:
            ready = await self._backlog.next(READ_TOGETHER)
            try:
                await self._catch_up(ready)
            except Exception as error:
                for subscriber in ready:
                    if subscriber.position is None:
                        subscriber.close(CloseCode.BUSY)  # another process may do better
                if not isinstance(error, Error):
                    raise
                # The database is away: everything waits for it.
                logger.warning("The log cannot be read, trying again in %s s: %r", RETRY_SECONDS, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _catch_up(self, subscribers: list[Subscriber]) -> None:
        heads = {subscriber.feed: subscriber.feed.head for subscriber in subscribers}
        after = _wanted(subscribers)
        positions, entries = await self._database.run(_read, [feed.user_id for feed in heads], after)
        self._learn(heads, positions)
        for subscriber in subscribers:
            user_id = subscriber.feed.user_id
            if subscriber.closed.done():
                continue
            if user_id not in positions:
                subscriber.close(CloseCode.REVOKED)  # there is no such user any more
                continue
            position, page = positions[user_id], entries.get(user_id, [])
            until = after.get(user_id, 0) + stream.PAGE
            subscriber.place(position, page, until=until, ping_seconds=self._upkeep.ping_seconds)
            if not subscriber.take(position.uid, page, subscriber.feed.head):
                self._backlog.discard(subscriber)

    async def _look_again(self, feeds: list[Feed]) -> None:
        """Learn where these streams stand now: reading marks above all, which the tail check does not see."""
        heads = {feed: feed.head for feed in feeds}
        try:
            positions = await self._database.run(stream.positions, [feed.user_id for feed in feeds])
        except Error as error:  # the next time will do
            logger.warning("Reading marks cannot be looked at: %r", error)
        else:
            self._learn(heads, positions)

    def _learn(self, heads: dict[Feed, int], positions: dict[Any, Position]) -> None:
        """Take over what the log says; `heads` are those from before it was asked. A client that it shows to be behind
        may be another window than the one for which the log was asked.
        """
        for feed, head in heads.items():
            if (position := positions.get(feed.user_id)) is None:
                continue
            feed.learn(position, head_before=head)
            for subscriber in feed.subscribers:
                if subscriber.is_behind(position.uid, feed.head):
                    self._backlog.add(subscriber)

    # -- The tail --------------------------------------------------------------------------------------------------

    async def _check_tail(self) -> None:
        """Every so often: what has changed? Repairs what hints did not bring, whatever lost them. For ever."""
        mark: tail.Mark | None = None
        while True:
            try:
                changes = await self._database.run(tail.changes_since, mark)
            except Error as error:  # the database is away: the mark waits, so nothing is skipped
                logger.warning("The tail cannot be checked, trying again in %s s: %r", self._tail_seconds, error)
            else:
                if mark is None:
                    # What happened before the first mark is looked up for every client that is here already. One that
                    # is not greeted yet is on its way.
                    for subscriber in self._upkeep:
                        if subscriber.position is not None:
                            self._backlog.add(subscriber)
                mark = changes.mark
                self._repair(changes)
            await asyncio.sleep(self._tail_seconds)

    def _repair(self, changes: tail.Changes) -> None:
        for user_id, head in changes.heads.items():
            if (feed := self._feeds.get(str(user_id))) and feed.head < head:
                feed.head = head
                for subscriber in feed.subscribers:
                    if subscriber.is_behind(subscriber.stream_uid, head):
                        self._backlog.add(subscriber)
        for user_id, key, at in changes.revoked:
            if feed := self._feeds.get(str(user_id)):
                for subscriber in feed.subscribers:
                    subscriber.revoke(key, at)


def _make_room(feed: Feed) -> None:
    """Let go of a user's oldest connection when there is one too many.

    The newest one is refused nothing: a phone that changes networks leaves connections behind that look alive until the
    kernel gives them up, and the client that opens one more is certainly there.
    """
    following = [subscriber for subscriber in feed.subscribers if not subscriber.closed.done()]
    if len(following) >= settings.MAX_SOCKETS_PER_USER:
        min(following, key=lambda subscriber: subscriber.connected_at).close(CloseCode.TOO_MANY_SOCKETS)


def _wanted(subscribers: Iterable[Subscriber]) -> dict[Any, int]:
    """After which number the log has to be read, by user: two clients of one user share what is read for them."""
    after: dict[Any, int] = {}
    for subscriber in subscribers:
        user_id, start = subscriber.feed.user_id, subscriber.starts_at
        if start is not None:
            after[user_id] = min(start, after.get(user_id, start))
    return after


def _read(users: Iterable[Any], after: dict[Any, int]) -> tuple[dict[Any, Position], dict[Any, list[Entry]]]:
    """Positions first: whatever is appended between the two queries is in the entries, beyond the position's head."""
    return stream.positions(set(users)), stream.read_after(after)
