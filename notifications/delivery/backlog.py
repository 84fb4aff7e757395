"""The clients that are behind, in turn: the one that has waited longest has the log read for it first.

`hub` alone uses it: what hears or finds something adds, one task takes. On one event loop.
"""

from __future__ import annotations

import asyncio

from notifications.delivery.subscriber import Subscriber


class Backlog:
    """Clients for which the log has to be read, the longest behind first."""

    def __init__(self) -> None:
        # A dictionary is a set that remembers what came first.
        self._behind: dict[Subscriber, None] = {}
        self._wake = asyncio.Event()

    def __contains__(self, subscriber: Subscriber) -> bool:
        return subscriber in self._behind

    def add(self, subscriber: Subscriber) -> None:
        """The client is behind. One that was already keeps its place."""
        self._behind[subscriber] = None
        self._wake.set()

    def discard(self, subscriber: Subscriber) -> None:
        """The client is not behind, or has gone."""
        self._behind.pop(subscriber, None)

    def drained(self, subscriber: Subscriber) -> None:
        """The client's outbox has run empty: if it is behind, it can be read for now."""
        if subscriber in self._behind:
            self._wake.set()

    async def next(self, limit: int) -> list[Subscriber]:
        """Wait for clients that can be read for, and give the first `limit` of them.

        They go to the end of the line, so the ones after them have their turn before these are read for again. A client
        whose frames still wait is a slow reader: it keeps its place, and is read for when it has drained.
        """
        while True:
            ready = []
            for subscriber in self._behind:
                if subscriber.outbox.empty and not subscriber.closed.done():
                    ready.append(subscriber)
                    if len(ready) == limit:
                        break
            if ready:
                for subscriber in ready:
                    del self._behind[subscriber]
                    self._behind[subscriber] = None
                return ready
            self._wake.clear()
            await self._wake.wait()
