"""This process's one channel on the channel layer, and the users' groups that it is in.

Called by `hub` alone. A layer may fail or hang at any time; nothing here raises or waits for long because of it, since
a hint that is not heard is found by the tail check.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from channels.layers import BaseChannelLayer

from notifications.hints.publish import group_of

logger = logging.getLogger(__name__)

#: Seconds that joining or leaving a group may take. Without it the tail check still delivers, and the next one retries.
TIMEOUT = 1.0
#: Seconds after which a group is joined anew: the core Redis layer forgets members after a day.
REJOIN_SECONDS = 6 * 3600
#: Seconds of rest after the layer failed: asking it for each of thousands of groups would hold up everything else.
RETRY_SECONDS = 1.0


class Membership:
    """`open` first; then `receive` for ever, while users are joined and left. On one event loop."""

    def __init__(self, layer: BaseChannelLayer) -> None:
        self._layer = layer
        self._channel: str | None = None
        self._joined_at: dict[int, float] = {}
        self._failed_at = float("-inf")

    async def open(self) -> None:
        """Get the channel, if the layer gives one at once: before it is there no group can be joined."""
        try:
            async with asyncio.timeout(TIMEOUT):
                self._channel = await self._layer.new_channel()
        except Exception as error:  # any layer, any trouble: receiving tries again
            logger.warning("The channel layer does not answer; the tail check delivers meanwhile: %r", error)

    async def receive(self) -> dict[str, Any]:
        """The next message of any group. Waits through whatever trouble the layer is in."""
        while True:
            try:
                if self._channel is None:
                    self._channel = await self._layer.new_channel()
                message: dict[str, Any] = await self._layer.receive(self._channel)
            except Exception as error:  # whatever the layer raises: it must not end the listening
                logger.warning("The channel layer does not answer; the tail check goes on: %r", error)
                self._joined_at.clear()  # a layer that comes back may have forgotten its groups
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return message

    def includes(self, user_id: int) -> bool:
        """Whether the user's group was joined, and not too long ago."""
        joined_at = self._joined_at.get(user_id)
        return joined_at is not None and asyncio.get_running_loop().time() < joined_at + REJOIN_SECONDS

    async def join(self, user_id: int) -> None:
        """Join the user's group, unless that was done or the layer is resting."""
        if self._channel is None or self._rests() or self.includes(user_id):
            return
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._layer.group_add(group_of(user_id), self._channel)
            self._joined_at[user_id] = asyncio.get_running_loop().time()
        except Exception as error:  # any layer, any trouble
            self._fail()
            self._joined_at.pop(user_id, None)
            logger.warning("A group cannot be joined, the tail check delivers meanwhile: %r", error)

    async def leave(self, user_id: int) -> bool:
        """Leave the user's group; False if the layer is resting, and it has to be tried again."""
        if self._rests():
            return False
        self._joined_at.pop(user_id, None)
        if self._channel is not None:  # also what was not joined in time: the layer may still be about to
            try:
                async with asyncio.timeout(TIMEOUT):
                    await self._layer.group_discard(group_of(user_id), self._channel)
            except Exception:  # any trouble: a hint for nobody is dropped
                self._fail()
        return True

    def _fail(self) -> None:
        self._failed_at = asyncio.get_running_loop().time()

    def _rests(self) -> bool:
        return asyncio.get_running_loop().time() < self._failed_at + RETRY_SECONDS
