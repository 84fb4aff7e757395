"""This process's one channel on the channel layer, and the users' groups that it is in.

`hub` shares its registry of feeds: a feed's group is joined when its first client comes, joined again when that is due
or has failed, and left some time after its last client has gone, when the feed is forgotten too. A layer may fail or
hang at any time. Nothing here raises or waits for long because of it, since a hint that is not heard is found by the
tail check.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from channels.layers import BaseChannelLayer

from notifications.delivery.subscriber import Feed
from notifications.hints.publish import group_of

logger = logging.getLogger(__name__)

#: Seconds that joining or leaving a group may take. Without it the tail check still delivers, and the next one retries.
TIMEOUT = 1.0
#: Seconds after which a group is joined anew: the core Redis layer forgets members after a day.
REJOIN_SECONDS = 6 * 3600
#: Seconds of rest after the layer failed: asking it for each of thousands of groups would hold up everything else.
RETRY_SECONDS = 1.0


class _Batch:
    """Groups that are joined together."""

    __slots__ = ("feeds", "joined")

    def __init__(self) -> None:
        self.feeds: dict[Feed, None] = {}
        #: Set when that was done, or was given up.
        self.joined = asyncio.Event()


class Membership:
    """`open` first; then the two loops, `receive` and `tend`, while feeds are joined. On one event loop.

    `feeds` is the hub's registry, by the user's key as a text.
    """

    def __init__(self, layer: BaseChannelLayer, feeds: dict[str, Feed]) -> None:
        self._layer = layer
        self._feeds = feeds
        self._channel: str | None = None
        self._joined_at: dict[Feed, float] = {}
        self._failed_at = float("-inf")
        #: The feeds whose groups are joined now, and those that are joined after them.
        self._current: _Batch | None = None
        self._next = _Batch()
        self._joining: asyncio.Task[None] | None = None
        #: The feed whose group is being left.
        self._leaving: Feed | None = None
        self._left = asyncio.Event()

    async def open(self) -> None:
        """Get the channel, if the layer gives one at once: before it is there no group can be joined."""
        try:
            async with asyncio.timeout(TIMEOUT):
                self._channel = await self._layer.new_channel()
        except Exception as error:  # any layer, any trouble: receiving tries again
            logger.warning("The channel layer does not answer; the tail check delivers meanwhile: %r", error)

    async def receive(self) -> Any:
        """The next message of any group. Waits through whatever trouble the layer is in."""
        while True:
            try:
                if self._channel is None:
                    self._channel = await self._layer.new_channel()
                return await self._layer.receive(self._channel)
            except Exception as error:  # whatever the layer raises: it must not end the listening
                logger.warning("The channel layer does not answer; the tail check goes on: %r", error)
                self._joined_at.clear()  # a layer that comes back may have forgotten its groups
                await asyncio.sleep(RETRY_SECONDS)

    async def join(self, feed: Feed) -> None:
        """Join the feed's group, unless that was done lately or the layer is resting.

        Many that come at once are joined at once: browsers that come back together cost one command.
        """
        while self._leaving is feed:  # the layer may carry out what is asked of it in any order
            await self._left.wait()
        if self._channel is None or self._rests() or self._includes(feed):
            return
        if self._joining is None or self._joining.done():
            self._joining = asyncio.create_task(self._join_all(), name="join-groups")
        batch = self._next
        batch.feeds[feed] = None
        await batch.joined.wait()

    async def _join_all(self) -> None:
        while (batch := self._next).feeds:
            self._next, self._current = _Batch(), batch
            try:
                await self._join_batch(list(batch.feeds))
            finally:
                self._current = None
                batch.joined.set()

    async def _join_batch(self, feeds: list[Feed]) -> None:
        if self._channel is None or self._rests():
            return
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._add([group_of(feed.user_id) for feed in feeds], self._channel)
            self._joined_at.update(dict.fromkeys(feeds, asyncio.get_running_loop().time()))
        except Exception as error:  # any layer, any trouble
            self._fail()
            for feed in feeds:
                self._joined_at.pop(feed, None)
            logger.warning("%d groups cannot be joined, the tail check delivers meanwhile: %r", len(feeds), error)

    async def _add(self, groups: list[str], channel: str) -> None:
        if (add := getattr(self._layer, "groups_add", None)) is not None:
            await add(groups, channel)
        else:
            await asyncio.gather(*(self._layer.group_add(group, channel) for group in groups))

    async def tend(self, every: float) -> None:
        """Join what could not be joined before, and leave what nobody follows any more, every so many seconds.

        For ever. No check waits for it. A feed that runs empty stays until this comes by: a client that only reloads
        its page finds its group joined.
        """
        while True:
            await asyncio.sleep(every)
            for key, feed in list(self._feeds.items()):
                if not feed.subscribers:
                    await self._leave(key, feed)
            if unheard := [feed for feed in self._feeds.values() if not self._includes(feed)]:
                await asyncio.gather(*map(self.join, unheard))

    async def _leave(self, key: str, feed: Feed) -> None:
        """Leave the feed's group and forget it; if the layer is resting, or a client has come, the next time."""
        if feed.subscribers or self._rests() or self._is_being_joined(feed):
            return
        self._joined_at.pop(feed, None)
        if self._channel is not None:  # also what was not joined in time: the layer may still be about to
            self._leaving = feed
            self._left.clear()
            try:
                async with asyncio.timeout(TIMEOUT):
                    await self._layer.group_discard(group_of(feed.user_id), self._channel)
            except Exception:  # any trouble: a hint for nobody is dropped
                self._fail()
            finally:
                self._leaving = None
                self._left.set()
        if not feed.subscribers:  # nobody came while the layer was asked
            del self._feeds[key]

    def _is_being_joined(self, feed: Feed) -> bool:
        return feed in self._next.feeds or (self._current is not None and feed in self._current.feeds)

    def _includes(self, feed: Feed) -> bool:
        """Whether the feed's group was joined, and not too long ago."""
        joined_at = self._joined_at.get(feed)
        return joined_at is not None and asyncio.get_running_loop().time() < joined_at + REJOIN_SECONDS

    def _fail(self) -> None:
        self._failed_at = asyncio.get_running_loop().time()

    def _rests(self) -> bool:
        return asyncio.get_running_loop().time() < self._failed_at + RETRY_SECONDS
