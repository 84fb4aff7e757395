"""The upkeep of this process's connections: pings, clients that take nothing, and the good-bye at the end.

`hub` adds and removes the clients and runs the two loops. Nothing here is about what a client is sent of its stream.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator

from notifications.conf import settings
from notifications.delivery.subscriber import RETRY_MS, Feed, Subscriber
from notifications.protocol import CloseCode

logger = logging.getLogger(__name__)

#: Seconds between two pings to one client. Proxies drop connections that are silent for 60 s (nginx's default).
PING_SECONDS = 25
#: Seconds between two looks for clients that take nothing: much less than the STALL_SECONDS that they have.
STALL_CHECK_SECONDS = 5
#: Seconds between two batches of good-byes.
DRAIN_STEP_SECONDS = 0.1
#: Seconds that the last good-bye may take.
GOODBYE_SECONDS = 2.0

Look = Callable[[list[Feed]], Awaitable[None]]


class Upkeep:
    """Every client of this process, shared out among the seconds between two pings. On one event loop.

    `look` brings the feeds that it is given up to date with the database; it may fail, and then raises nothing.
    """

    def __init__(self, look: Look, *, ping_seconds: int = PING_SECONDS) -> None:
        self._look = look
        self.ping_seconds = ping_seconds
        #: The clients that are pinged in the same second, by second.
        self._slots: list[set[Subscriber]] = [set() for _ in range(ping_seconds)]
        self._tick = 0
        #: How many clients there are.
        self.size = 0
        #: Whether the process is about to stop: readiness fails, and newcomers are sent elsewhere.
        self.draining = False

    def __iter__(self) -> Iterator[Subscriber]:
        return (subscriber for slot in self._slots for subscriber in slot)

    def add(self, subscriber: Subscriber) -> set[Subscriber]:
        """Look after the client from now on; gives what `remove` needs."""
        slot = min(self._slots, key=len)
        slot.add(subscriber)
        self.size += 1
        return slot

    def remove(self, subscriber: Subscriber, slot: set[Subscriber]) -> None:
        """The client has gone. `slot` is what `add` gave."""
        slot.discard(subscriber)
        self.size -= 1

    async def heartbeat(self) -> None:
        """Ping each client every `ping_seconds`, a share of them each second, and let go of those that do not answer.

        For ever. Waits for nothing but the time: a database that hangs must not make a client look dead.
        """
        while True:
            for subscriber in list(self._slots[self._tick % self.ping_seconds]):
                subscriber.ping()
            if self._tick % STALL_CHECK_SECONDS == 0:
                self._let_go_of_stalled()
            self._tick += 1
            await asyncio.sleep(1)

    async def look_ahead(self) -> None:
        """Bring the feeds of the clients that are pinged next up to date, for ever: the ping carries how far is read.

        A reading mark is no row of the log, so the tail check does not find one whose hint was lost. One query a second
        by primary key, for a twenty-fifth of the users; none where nobody is about to be pinged.
        """
        while True:
            slot = self._slots[self._tick % self.ping_seconds]
            if feeds := list({subscriber.feed for subscriber in slot if subscriber.position is not None}):
                await self._look(feeds)
            await asyncio.sleep(1)

    def _let_go_of_stalled(self) -> None:
        now = time.monotonic()
        for subscriber in self:
            stalled_since = subscriber.outbox.stalled_since
            if stalled_since is not None and now - stalled_since > settings.STALL_SECONDS:
                logger.info("A client of user %s takes nothing, and is let go of.", subscriber.feed.user_id)
                subscriber.close(CloseCode.TOO_SLOW)

    async def drain(self, seconds: float) -> None:
        """Say good-bye to everybody, evenly over `seconds`, so that they do not come back all at once.

        The first step says it to nobody: the load balancer needs a moment to see that this process is not ready any
        more.
        """
        self.draining = True
        leaving = list(self)
        steps = max(1, round(seconds / DRAIN_STEP_SECONDS))
        gone = 0
        for step in range(1, steps + 1):
            if not self.size:
                return
            await asyncio.sleep(DRAIN_STEP_SECONDS)
            due = len(leaving) * step // steps
            for subscriber in leaving[gone:due]:
                # The earlier a client leaves, the longer it may stay away: until the end of this drain, about.
                left = round((steps - step) * DRAIN_STEP_SECONDS * 1000)
                subscriber.retry_ms = (RETRY_MS[0], RETRY_MS[1] + left)
                subscriber.close(CloseCode.DRAIN)
            gone = due
        # The last ones' close is on its way; a client that does not read gets no more time than this.
        for _ in range(round(GOODBYE_SECONDS / DRAIN_STEP_SECONDS)):
            gone_by_now = not self.size
            await asyncio.sleep(DRAIN_STEP_SECONDS)
            if gone_by_now:
                return
