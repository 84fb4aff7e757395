"""The hub: one for each server process; it knows this process's clients by user, and keeps each of them in order.

How a notification gets from the log to a client, in one place:

- A *hint* (`publish`) arrives on the process's one channel (`membership`). A client that holds number n is sent n+1
  from the hint itself, without a look at the database. What it has seen is dropped. Anything else is a gap (`cursor`).
- A client with a gap is *behind* (`backlog`). One task reads the log for all that are behind, in one query, until none
  is (`log_reader`). A newcomer that resumes, a client whose hint was lost and a slow reader whose outbox has drained
  are all the same case: their position is less than the head.
- The *tail check* asks the database which heads have moved, and so finds what no hint announced.

The group is joined before the log is read, and a hint that arrives in between moves the feed's head: nothing falls
between replay and live. Delivery never waits: frames go into bounded outboxes (`outbox`), so one slow reader delays
nobody. Pings, stalled clients and the good-bye are `upkeep`'s.

The hub does no authentication and knows no HTTP; `connection` calls it. It runs on one event loop and is not
thread-safe.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from channels.layers import BaseChannelLayer

from notifications import protocol
from notifications.access.credentials import Credential
from notifications.conf import settings
from notifications.delivery.backlog import Backlog
from notifications.delivery.log_reader import LogReader
from notifications.delivery.membership import Membership
from notifications.delivery.outbox import Outbox, Send
from notifications.delivery.subscriber import Feed, Subscriber
from notifications.delivery.upkeep import PING_SECONDS, Upkeep
from notifications.hints.messages import AppendedMessage, AsideMessage, OfStream, ReadMessage, RevokedMessage
from notifications.protocol import CloseCode
from notifications.supervision import Supervisor

logger = logging.getLogger(__name__)


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
        self._log = LogReader(self._feeds, self._backlog, ping_seconds=ping_seconds)
        self._upkeep = Upkeep(self._log.look_again, ping_seconds=ping_seconds)
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
            read_log=self._log.read_log,
            check_tail=partial(self._log.check_tail, self._tail_seconds),
            tend_groups=partial(self._membership.tend, self._tail_seconds),
            heartbeat=self._upkeep.heartbeat,
            look_ahead=self._upkeep.look_ahead,
        )

    async def stop(self) -> None:
        await self.supervisor.stop()
        await self._log.database.close()

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
        elif message["type"] == "stream.aside":
            self._said_aside(feed, message)

    def _appended(self, feed: Feed, message: AppendedMessage) -> None:
        uid, entries = message["uid"], message["entries"]
        feed.head = head = max(feed.head, message["head"])
        for subscriber in feed.subscribers:
            if subscriber.take(uid, entries, head):
                self._backlog.add(subscriber)
            else:
                self._backlog.discard(subscriber)

    def _marked_read(self, feed: Feed, message: ReadMessage) -> None:
        if message["uid"] == feed.uid:  # otherwise the numbers are of another stream
            feed.mark_read(message["up_to"], message["unread"])

    def _revoked(self, feed: Feed, message: RevokedMessage) -> None:
        if message["uid"] == feed.uid:  # otherwise it is of another deployment on the same Redis
            for subscriber in feed.subscribers:
                subscriber.revoke(message["key"], message["at"])

    def _said_aside(self, feed: Feed, message: AsideMessage) -> None:
        if message["uid"] == feed.uid:
            feed.say(protocol.aside(message["of"], message["fields"]))


def _make_room(feed: Feed) -> None:
    """Let go of a user's oldest connection when there is one too many.

    The newest one is refused nothing: a phone that changes networks leaves connections behind that look alive until the
    kernel gives them up, and the client that opens one more is certainly there.
    """
    following = [subscriber for subscriber in feed.subscribers if not subscriber.closed.done()]
    if len(following) >= settings.MAX_SOCKETS_PER_USER:
        min(following, key=lambda subscriber: subscriber.connected_at).close(CloseCode.TOO_MANY_SOCKETS)
