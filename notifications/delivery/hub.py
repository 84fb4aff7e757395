"""The hub: one for each server process; it knows this process's subscribers by user and keeps each of them in order.

How a notification gets from the log to a client, in one place:

- A *hint* (`publish`) arrives on the process's one channel. A subscriber that holds number n is sent n+1 from the hint
  itself, without a look at the database. What it has seen is dropped. Anything else is a gap.
- A subscriber with a gap is *behind*. One task reads the log for all who are behind, in one query, until none is. A
  newcomer that resumes, a subscriber whose hint was lost and a slow reader whose outbox has drained are all the same
  case: their position is less than the head.
- The *tail check* asks the database every few seconds which heads have moved, and so finds what no hint announced.

The group is joined before the log is read, and a hint that arrives in between moves the feed's head: nothing falls
between replay and live. Delivery never waits: frames go into bounded outboxes (`outbox`), so one slow reader delays
nobody. The hub does no authentication and knows no HTTP; `connection` calls it. It runs on one event loop and is not
thread-safe; its database work runs on one thread of its own, whose connection it keeps.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from channels.layers import BaseChannelLayer
from django.conf import settings

from notifications import protocol
from notifications.access.credentials import Credential
from notifications.database import DatabaseThreads
from notifications.delivery import tail
from notifications.delivery.membership import Membership
from notifications.delivery.outbox import Outbox, Send
from notifications.delivery.subscriber import RETRY_MS, Feed, Subscriber
from notifications.log import stream
from notifications.log.stream import Position
from notifications.protocol import CloseCode, Entry, Reset

logger = logging.getLogger(__name__)

#: Seconds between two pings to one client. Proxies drop connections that are silent for 60 s (nginx's default).
PING_SECONDS = 25
#: Seconds between two looks for clients that take nothing: much less than the STALL_SECONDS that they have.
STALL_CHECK_SECONDS = 5
#: How much is replayed to who comes back. Whoever missed more is better served by a snapshot.
MAX_REPLAY = 1_000
#: Subscribers whose log is read in one query; with `stream.PAGE` entries each it stays below some 7 MiB.
READ_TOGETHER = 50
#: Seconds between two batches of good-byes.
DRAIN_STEP_SECONDS = 0.1
#: Seconds that the last good-bye may take.
GOODBYE_SECONDS = 2.0
#: How far the clocks of two of our processes may differ: a revocation errs towards closing.
CLOCK_SKEW_SECONDS = 1.0
#: Seconds of rest after the database failed.
RETRY_SECONDS = 1.0


class Refused(Exception):
    """Nobody more can follow here now; `code` says why."""

    def __init__(self, code: CloseCode) -> None:
        self.code = code
        super().__init__(code.name)


class Hub:
    """See the module's docstring. `start` before the first subscriber, `stop` after the last."""

    def __init__(self, layer: BaseChannelLayer, *, tail_seconds: float | None = None) -> None:
        self._membership = Membership(layer)
        #: Seconds between two tail checks: how long a notification whose hint was lost can be late.
        self._tail_seconds = settings.NOTIFICATION_TAIL_SECONDS if tail_seconds is None else tail_seconds
        self._feeds: dict[int, Feed] = {}
        self._behind: set[Subscriber] = set()
        self._wake = asyncio.Event()
        self._pings: list[set[Subscriber]] = [set() for _ in range(PING_SECONDS)]
        self._database = DatabaseThreads("hub")
        #: How many subscribers there are.
        self.size = 0
        #: Whether the process is about to stop: readiness fails, and newcomers are sent elsewhere.
        self.draining = False
        self._tasks: list[asyncio.Task[None]] = []

    # -- Life of the hub -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        # Before the first subscriber, whose group would else be joined, and hear hints, only with `_tend_groups`.
        await self._membership.open()
        for work in (self._listen, self._read_log, self._check_tail, self._tend_groups, self._heartbeat):
            self._tasks.append(asyncio.create_task(work(), name=f"hub{work.__name__}"))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._database.close()

    async def drain(self, seconds: float) -> None:
        """Say good-bye to everybody, evenly over `seconds`, so that they do not come back all at once.

        It begins with nobody: whoever balances the load has some time to see that this process is not ready any more.
        """
        self.draining = True
        leaving = [subscriber for feed in self._feeds.values() for subscriber in feed.subscribers]
        steps = max(1, round(seconds / DRAIN_STEP_SECONDS))
        gone = 0
        for step in range(1, steps + 1):
            if not self.size:
                return
            await asyncio.sleep(DRAIN_STEP_SECONDS)
            due = len(leaving) * step // steps
            for subscriber in leaving[gone:due]:
                # The earlier somebody leaves, the longer they may stay away: until the end of this drain, about.
                left = round((steps - step) * DRAIN_STEP_SECONDS * 1000)
                subscriber.retry_ms = (RETRY_MS[0], RETRY_MS[1] + left)
                subscriber.close(CloseCode.DRAIN)
            gone = due
        # The last ones' close is on its way; who does not read gets no more time than this.
        for _ in range(round(GOODBYE_SECONDS / DRAIN_STEP_SECONDS)):
            gone_by_now = not self.size
            await asyncio.sleep(DRAIN_STEP_SECONDS)
            if gone_by_now:
                return

    # -- Subscribers -----------------------------------------------------------------------------------------------

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
        """Follow the stream of who has this credential while the context lasts, from after `after`, or from now on.

        Frames begin with `welcome`; when `after` cannot be served, `reset` is next. They are written with `send` while
        the caller runs `subscriber.outbox.write()`. When `subscriber.closed` is done the caller leaves the context.

        Raises `Refused` with the close code when the process has too many already, or is about to stop.
        """
        user_id = credential.user_id
        if self.draining:
            raise Refused(CloseCode.DRAIN)
        if self.size >= settings.MAX_SOCKETS:
            raise Refused(CloseCode.BUSY)
        feed = self._feeds.get(user_id) or self._feeds.setdefault(user_id, Feed(user_id))
        self._make_room(feed)
        subscriber = Subscriber(feed, credential, after, stream_uid, answers_pings)
        subscriber.outbox = Outbox(send, drained=partial(self._drained, subscriber))
        feed.subscribers.add(subscriber)
        self.size += 1
        pings = min(self._pings, key=len)
        pings.add(subscriber)
        try:
            await self._join(feed)
            self._fall_behind(subscriber)
            yield subscriber
        finally:
            subscriber.close(None)
            self.size -= 1
            pings.discard(subscriber)
            self._behind.discard(subscriber)
            # An empty feed stays until `_tend_groups` comes by: who only reloads a page finds it joined.
            feed.subscribers.discard(subscriber)

    def _make_room(self, feed: Feed) -> None:
        """Let go of a user's oldest connection when there is one too many.

        The newest one is refused nothing: a phone that changes networks leaves connections behind that look alive until
        the kernel gives them up, and whoever opens one more is certainly there.
        """
        following = [subscriber for subscriber in feed.subscribers if not subscriber.closed.done()]
        if len(following) >= settings.MAX_SOCKETS_PER_USER:
            min(following, key=lambda subscriber: subscriber.connected_at).close(CloseCode.TOO_MANY_SOCKETS)

    def _fall_behind(self, subscriber: Subscriber) -> None:
        self._behind.add(subscriber)
        self._wake.set()

    def _drained(self, subscriber: Subscriber) -> None:
        if subscriber in self._behind:
            self._wake.set()

    # -- Hints -----------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Receive this process's hints, for ever."""
        handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "stream.appended": self._appended,
            "stream.read": self._read_elsewhere,
            "stream.revoked": lambda message: self._revoked(message["user"], message["key"], message["at"]),
        }
        while True:
            message = await self._membership.receive()
            try:
                if handler := handlers.get(message["type"]):
                    handler(message)
            except (KeyError, TypeError, ValueError) as error:  # another version's, in the middle of a deploy
                logger.warning("A hint makes no sense, the tail check will repair: %r", error)

    def _appended(self, message: dict[str, Any]) -> None:
        feed = self._feeds.get(message["user"])
        if feed is None:
            return
        feed.head = max(feed.head, message["head"])
        entries = [Entry(*entry) for entry in message["entries"]]
        for subscriber in feed.subscribers:
            if message["uid"] == subscriber.stream_uid:
                self._advance(subscriber, entries)
            else:  # a newcomer, or the stream was begun anew: numbers of another mean nothing, and the log will tell
                self._fall_behind(subscriber)

    def _read_elsewhere(self, message: dict[str, Any]) -> None:
        if feed := self._feeds.get(message["user"]):
            frame = protocol.read(up_to=message["up_to"], unread=message["unread"])
            for subscriber in feed.subscribers:
                if subscriber.position is not None:
                    subscriber.outbox.put(frame)

    def _revoked(self, user_id: int, key: str, at: float) -> None:
        """Close who came with a credential that has ended. A credential checked after that is another one."""
        if feed := self._feeds.get(user_id):
            for subscriber in feed.subscribers:
                credential = subscriber.credential
                if credential.key.startswith(key) and credential.checked_at.timestamp() <= at + CLOCK_SKEW_SECONDS:
                    subscriber.close(CloseCode.REVOKED)

    def _advance(self, subscriber: Subscriber, entries: Iterable[Entry]) -> None:
        """Give the subscriber those entries that are next in its order, and note whether it is behind after that."""
        if subscriber.position is None:
            return  # its handshake will read the log, which holds these entries
        for seq, frame in entries:
            if seq == subscriber.position + 1:
                if not subscriber.outbox.put(frame):
                    break
                subscriber.position = seq
        if subscriber.position < subscriber.feed.head:
            self._fall_behind(subscriber)
        else:
            self._behind.discard(subscriber)

    # -- The log ---------------------------------------------------------------------------------------------------

    async def _read_log(self) -> None:
        """Read the log for all who are behind, again and again, until nobody is."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            # Who still has frames waiting is a slow reader: it is read for when it has drained.
            ready = [s for s in self._behind if s.outbox.empty and not s.closed.done()][:READ_TOGETHER]
            if not ready:
                continue
            try:
                await self._catch_up(ready)
            except Exception as error:  # the database is away: everything waits for it
                logger.warning("The log cannot be read, trying again in %s s: %r", RETRY_SECONDS, error)
                for subscriber in ready:
                    if subscriber.position is None:
                        subscriber.close(CloseCode.BUSY)  # another process may do better
                await asyncio.sleep(RETRY_SECONDS)
            self._wake.set()

    async def _catch_up(self, subscribers: list[Subscriber]) -> None:
        users = {subscriber.feed.user_id for subscriber in subscribers}
        heads = {subscriber.feed: subscriber.feed.head for subscriber in subscribers}
        after: dict[int, int] = {}
        for subscriber in subscribers:
            start = subscriber.requested if subscriber.position is None else subscriber.position
            if start is not None:
                after[subscriber.feed.user_id] = min(start, after.get(subscriber.feed.user_id, start))
        positions, entries = await self._database.run(_read, users, after)
        for feed, head in heads.items():
            # The log is the truth: it corrects a head that no row bears out, unless a hint came while it was read.
            if (position := positions.get(feed.user_id)) is not None:
                feed.head = position.head if feed.head == head else max(feed.head, position.head)
        for subscriber in subscribers:
            if subscriber.closed.done():
                continue
            user_id = subscriber.feed.user_id
            if user_id not in positions:
                subscriber.close(CloseCode.REVOKED)  # there is no such user any more
                continue
            page = entries.get(user_id, [])
            self._place(subscriber, positions[user_id], page, until=after.get(user_id, 0) + stream.PAGE)
            self._advance(subscriber, page)

    def _place(self, subscriber: Subscriber, position: Position, page: Sequence[Entry], *, until: int) -> None:
        """Greet a newcomer, and reset whoever holds a position that this stream cannot go on from.

        `page` is what the log holds up to the number `until`.
        """
        restarted = subscriber.stream_uid not in (None, position.uid)
        start = subscriber.requested if subscriber.position is None else subscriber.position
        reason = None
        if restarted:
            reason = Reset.UNKNOWN_STREAM
        elif start is not None and start > position.head and subscriber.position is None:
            reason = Reset.AHEAD
        elif start is not None and (start < position.trimmed_up_to or _is_lost(start + 1, position, page, until)):
            reason = Reset.TRIMMED
        elif start is not None and subscriber.position is None and position.head - start > MAX_REPLAY:
            reason = Reset.TOO_MANY
        newcomer = subscriber.position is None
        subscriber.stream_uid = position.uid
        if start is None or reason:
            start = position.head
        subscriber.position = start
        if newcomer:
            subscriber.outbox.put(
                protocol.welcome(
                    user=subscriber.credential.username,
                    stream=position.uid,
                    head=position.head,
                    after=start,
                    unread=position.unread,
                    ping_seconds=PING_SECONDS,
                )
            )
        if reason:
            subscriber.outbox.put(protocol.reset(stream=position.uid, head=position.head, reason=reason))

    async def _check_tail(self) -> None:
        """Every few seconds: what has changed? Repairs what hints did not bring, whoever lost them."""
        mark: tail.Mark | None = None
        while True:
            try:
                changes = await self._database.run(tail.changes_since, mark)
            except Exception as error:  # the database is away: the mark waits, so nothing is skipped
                logger.warning("The tail cannot be checked, trying again in %s s: %r", self._tail_seconds, error)
            else:
                if mark is None:
                    # What happened before the first mark is looked up for each who is here already.
                    self._behind.update(s for feed in self._feeds.values() for s in feed.subscribers)
                    self._wake.set()
                mark = changes.mark
                self._repair(changes)
            await asyncio.sleep(self._tail_seconds)

    def _repair(self, changes: tail.Changes) -> None:
        for user_id, head in changes.heads.items():
            if (feed := self._feeds.get(user_id)) and feed.head < head:
                feed.head = head
                for subscriber in feed.subscribers:
                    self._advance(subscriber, ())
        for revoked in changes.revoked:
            self._revoked(*revoked)

    # -- Groups ----------------------------------------------------------------------------------------------------

    async def _join(self, feed: Feed) -> None:
        async with feed.joining:
            await self._membership.join(feed.user_id)

    async def _leave(self, feed: Feed) -> None:
        async with feed.joining:
            if feed.subscribers or not await self._membership.leave(feed.user_id):
                return
            if not feed.subscribers:  # nobody came while the layer was asked
                del self._feeds[feed.user_id]

    async def _tend_groups(self) -> None:
        """Join what could not be joined before, and leave what nobody follows any more; no check waits for it."""
        while True:
            await asyncio.sleep(self._tail_seconds)
            for feed in list(self._feeds.values()):
                if not feed.subscribers:
                    await self._leave(feed)
                elif not self._membership.includes(feed.user_id):
                    await self._join(feed)

    # -- Heartbeat -------------------------------------------------------------------------------------------------

    async def _heartbeat(self) -> None:
        """Ping each client every PING_SECONDS, a share of them each second, and let go of who does not answer."""
        for tick in itertools.count():
            for subscriber in list(self._pings[tick % PING_SECONDS]):
                if subscriber.awaiting_pong:
                    subscriber.close(CloseCode.NO_PONG)
                elif subscriber.position is not None and subscriber.outbox.put(protocol.ping(head=subscriber.position)):
                    subscriber.awaiting_pong = subscriber.answers_pings
            if tick % STALL_CHECK_SECONDS == 0:
                self._let_go_of_stalled()
            await asyncio.sleep(1)

    def _let_go_of_stalled(self) -> None:
        now = asyncio.get_running_loop().time()
        for feed in self._feeds.values():
            for subscriber in feed.subscribers:
                stalled_since = subscriber.outbox.stalled_since
                if stalled_since is not None and now - stalled_since > settings.STALL_SECONDS:
                    logger.info("A client of user %s takes nothing, and is let go of.", feed.user_id)
                    subscriber.close(CloseCode.TOO_SLOW)


def _is_lost(seq: int, position: Position, page: Sequence[Entry], until: int) -> bool:
    """Whether a number that must be in the page is not: somebody has deleted rows by hand.

    Without this its reader would stay behind for ever, and the log would be read for it again and again.
    """
    return seq <= min(position.head, until) and all(entry.seq != seq for entry in page)


def _read(users: set[int], after: dict[int, int]) -> tuple[dict[int, Position], dict[int, list[Entry]]]:
    """Positions first: whatever is appended between the two queries is in the entries, beyond the position's head."""
    return stream.positions(users), stream.read_after(after)
