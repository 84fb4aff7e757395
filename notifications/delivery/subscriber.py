"""One client (`Subscriber`), and one user's clients in this process (`Feed`)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from notifications import protocol
from notifications.access.credentials import Credential
from notifications.delivery.cursor import Cursor
from notifications.delivery.outbox import Outbox
from notifications.log.stream import Position
from notifications.protocol import CloseCode

#: When a client that was sent away comes back, in milliseconds, unless there is a better time.
RETRY_MS = (200, 2_000)
#: A connection that has lasted for a week proves its credential again.
MAX_CONNECTION_SECONDS = 7 * 24 * 3600
#: How far the clocks of two of our processes may differ, in seconds: a revocation errs towards closing.
CLOCK_SKEW_SECONDS = 1.0


class Subscriber(Cursor):
    """A client with its connection: the proof that it may follow, and how the connection ends."""

    __slots__ = (
        "_expiry",
        "answers_pings",
        "awaiting_pong",
        "closed",
        "connected_at",
        "credential",
        "feed",
        "retry_ms",
    )

    def __init__(
        self,
        feed: Feed,
        credential: Credential,
        outbox: Outbox,
        *,
        after: int | None = None,
        stream_uid: str | None = None,
        answers_pings: bool = True,
    ) -> None:
        super().__init__(outbox, user=credential.username, after=after, stream_uid=stream_uid)
        self.feed = feed
        self.answers_pings = answers_pings
        self.awaiting_pong = False
        loop = asyncio.get_running_loop()
        #: Loop time.
        self.connected_at = loop.time()
        #: Done when the connection is over: with a close code, or None if the client went away.
        self.closed: asyncio.Future[CloseCode | None] = loop.create_future()
        #: When a client that is sent away shall come back, in milliseconds: at random between the two.
        self.retry_ms = RETRY_MS
        self._expiry: asyncio.TimerHandle | None = None
        self.credential = credential
        self._expire_with(credential)

    def prove(self, credential: Credential) -> None:
        """Follow on the strength of this credential from now on, if it lasts longer than the one before."""
        if _lasts(credential) > _lasts(self.credential):
            self.credential = credential
            self._expire_with(credential)

    def revoke(self, key: str, at: float) -> None:
        """Credentials whose key begins with `key` ended at `at` (seconds, Unix): close if ours is one of them.

        A credential that was checked after that is another one.
        """
        if self.credential.key.startswith(key) and self.credential.checked_at.timestamp() <= at + CLOCK_SKEW_SECONDS:
            self.close(CloseCode.REVOKED)

    def ping(self) -> None:
        """Ask whether the client is there; let it go if it has not answered the last time."""
        if self.awaiting_pong:
            self.close(CloseCode.NO_PONG)
        elif self.position is not None:
            asked = self.outbox.put(protocol.ping(head=self.position, read_up_to=self.feed.read_up_to))
            # A ping that does not fit asks nothing: a client that takes nothing has STALL_SECONDS.
            self.awaiting_pong = asked and self.answers_pings

    def pong(self) -> None:
        """The client is there."""
        self.awaiting_pong = False

    def close(self, code: CloseCode | None) -> None:
        """End the connection with a code; without one it is over already. The first code counts."""
        if self._expiry is not None:
            self._expiry.cancel()
        if not self.closed.done():
            self.closed.set_result(code)

    def _expire_with(self, credential: Credential) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        if credential.expires_at is not None:
            left = (credential.expires_at - timezone.now()).total_seconds()
            # A loop's timers do not reach further than some weeks; a client that has not reconnected by then does so.
            left = min(left, MAX_CONNECTION_SECONDS)
            self._expiry = asyncio.get_running_loop().call_later(left, self.close, CloseCode.EXPIRED)


def _lasts(credential: Credential) -> datetime:
    return credential.expires_at or datetime.max.replace(tzinfo=UTC)


class Feed:
    """One user's stream as this process knows it: its clients, and what was heard or read of it last."""

    __slots__ = ("head", "read_up_to", "subscribers", "uid", "user_id")

    def __init__(self, user_id: Any) -> None:
        #: The user's primary key, of whatever type.
        self.user_id = user_id
        self.subscribers: set[Subscriber] = set()
        #: The stream's id; None before the log was read.
        self.uid: str | None = None
        #: The highest number heard of.
        self.head = 0
        #: The number up to which the user has read.
        self.read_up_to = 0

    def learn(self, position: Position, *, head_before: int) -> None:
        """What the log says now. `head_before` is what `head` was when the log was asked."""
        # The log is the truth: it corrects a head that no row bears out, unless a hint came while it was read.
        self.head = position.head if self.head == head_before else max(self.head, position.head)
        if self.uid == position.uid:
            self.mark_read(position.read_up_to, position.unread)
        else:  # a stream that was not known, or was begun anew: its clients are about to be greeted, or reset
            self.uid, self.read_up_to = position.uid, position.read_up_to

    def mark_read(self, up_to: int, unread: int) -> None:
        """The user has read up to a number: tell every client that was greeted. What is known already is not told."""
        if up_to <= self.read_up_to:
            return
        self.read_up_to = up_to
        # Where it does not fit, the next ping carries the number.
        self.say(protocol.read(up_to=up_to, unread=unread))

    def say(self, frame: str) -> None:
        """Give an unnumbered frame to every client that was greeted. A client that it does not fit goes without."""
        for subscriber in self.subscribers:
            if subscriber.position is not None:
                subscriber.outbox.put(frame)
