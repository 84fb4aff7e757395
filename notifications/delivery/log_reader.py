"""What the hub's clients get from the database: the log for those that are behind, and the tail check.

`hub` runs the loops. The `backlog` holds the clients for which the log has to be read; hints fill it, and so does this.
Whatever a hint did not bring comes from here, so nothing in it depends on one. One call follows the other, on threads
that keep their connections. A database that is away is waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import Error

from notifications.database import SharedThreads
from notifications.delivery import tail
from notifications.delivery.backlog import Backlog
from notifications.delivery.subscriber import Feed, Subscriber
from notifications.log import stream
from notifications.log.stream import Position
from notifications.protocol import CloseCode, Entry

logger = logging.getLogger(__name__)

#: Clients whose log is read in one query; with `stream.PAGE` entries each it stays below some 7 MiB.
READ_TOGETHER = 50
#: Seconds of rest after the database failed.
RETRY_SECONDS = 1.0


class LogReader:
    """Reads for the clients of these feeds. `feeds` is the hub's registry, by the user's key as a text."""

    def __init__(self, feeds: Mapping[str, Feed], backlog: Backlog, *, ping_seconds: int) -> None:
        self._feeds = feeds
        self._backlog = backlog
        #: For the greeting.
        self._ping_seconds = ping_seconds
        self.database = SharedThreads("hub")

    async def read_log(self) -> None:
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
        positions, entries = await self.database.run(_read, [feed.user_id for feed in heads], after)
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
            subscriber.place(position, page, until=until, ping_seconds=self._ping_seconds)
            if not subscriber.take(position.uid, page, subscriber.feed.head):
                self._backlog.discard(subscriber)

    async def look_again(self, feeds: list[Feed]) -> None:
        """Learn where these streams stand now: reading marks above all, which the tail check does not see."""
        heads = {feed: feed.head for feed in feeds}
        try:
            positions = await self.database.run(stream.positions, [feed.user_id for feed in feeds])
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

    async def check_tail(self, every: float) -> None:
        """Every so often: what has changed? Repairs what hints did not bring, whatever lost them. For ever."""
        mark: tail.Mark | None = None
        while True:
            try:
                changes = await self.database.run(tail.changes_since, mark)
            except Error as error:  # the database is away: the mark waits, so nothing is skipped
                logger.warning("The tail cannot be checked, trying again in %s s: %r", every, error)
            else:
                if mark is None:
                    # What happened before the first mark is looked up for every client that is here already. One that
                    # is not greeted yet is on its way.
                    for feed in self._feeds.values():
                        for subscriber in feed.subscribers:
                            if subscriber.position is not None:
                                self._backlog.add(subscriber)
                mark = changes.mark
                self._repair(changes)
            await asyncio.sleep(every)

    def _repair(self, changes: tail.Changes) -> None:
        for user_id, head in changes.heads.items():
            if (feed := self._feeds.get(str(user_id))) and feed.head < head:
                feed.head = head
                for subscriber in feed.subscribers:
                    if subscriber.is_behind(subscriber.stream_uid, head):
                        self._backlog.add(subscriber)
        for revoked in changes.revoked:
            if feed := self._feeds.get(str(revoked.user_id)):
                for subscriber in feed.subscribers:
                    subscriber.revoke(revoked.key, revoked.at)


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
