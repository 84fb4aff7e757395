"""Who follows: one client (`Subscriber`), and one user's clients in this process (`Feed`). State, which `hub` moves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from django.utils import timezone

from notifications.access.credentials import Credential
from notifications.delivery.outbox import Outbox
from notifications.protocol import CloseCode

#: When who was sent away comes back, in milliseconds, unless there is a better time.
RETRY_MS = (200, 2_000)
#: A connection that has lasted for a week proves its credential again.
MAX_CONNECTION_SECONDS = 7 * 24 * 3600


class Subscriber:
    """One client: whose stream it follows, the number it holds, and what waits to be written to it."""

    __slots__ = (
        "_expiry",
        "answers_pings",
        "awaiting_pong",
        "closed",
        "connected_at",
        "credential",
        "feed",
        "outbox",
        "position",
        "requested",
        "retry_ms",
        "stream_uid",
    )

    def __init__(
        self, feed: Feed, credential: Credential, requested: int | None, stream_uid: str | None, answers_pings: bool
    ) -> None:
        self.feed = feed
        self.requested = requested
        self.stream_uid = stream_uid
        self.answers_pings = answers_pings
        #: Loop time.
        self.connected_at = asyncio.get_running_loop().time()
        self.outbox: Outbox
        #: The number of the last notification put into the outbox; None until the handshake has read the log.
        self.position: int | None = None
        self.awaiting_pong = False
        #: Done when the connection is over: with a close code, or None if the client went away.
        self.closed: asyncio.Future[CloseCode | None] = asyncio.get_running_loop().create_future()
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

    def _expire_with(self, credential: Credential) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        if credential.expires_at is not None:
            left = (credential.expires_at - timezone.now()).total_seconds()
            # A loop's timers do not reach further than some weeks; who has not reconnected by then does so now.
            left = min(left, MAX_CONNECTION_SECONDS)
            self._expiry = asyncio.get_running_loop().call_later(left, self.close, CloseCode.EXPIRED)

    def close(self, code: CloseCode | None) -> None:
        """End the connection with a code; without one it is over already. The first code counts."""
        if self._expiry is not None:
            self._expiry.cancel()
        if not self.closed.done():
            self.closed.set_result(code)

    def pong(self) -> None:
        """The client is there."""
        self.awaiting_pong = False


def _lasts(credential: Credential) -> datetime:
    return credential.expires_at or datetime.max.replace(tzinfo=UTC)


class Feed:
    """One user's stream as this process knows it: its subscribers and the highest number heard of."""

    __slots__ = ("head", "joining", "subscribers", "user_id")

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.subscribers: set[Subscriber] = set()
        self.head = 0
        #: Held while the user's group is joined or left.
        self.joining = asyncio.Lock()
