"""A queue and an event for one connection, as small as that: what is waited for by thousands who are idle.

`socket_protocol` puts them in the place of uvicorn's. asyncio's own keep a deque for each way to wait, of 600 bytes
while it is empty: a queue and an event come to 4 KiB, a sixth of what an idle socket weighs. Each belongs to one event
loop, and a queue to one reader.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """What of `asyncio.Queue` a protocol uses: messages in order, and one reader that waits for them."""

    __slots__ = ("_messages", "_reader")

    def __init__(self) -> None:
        # A list: uvicorn reads no further while a message waits, so there are few.
        self._messages: list[T] = []
        self._reader: asyncio.Future[None] | None = None

    def empty(self) -> bool:
        """Whether no message waits."""
        return not self._messages

    def put_nowait(self, message: T) -> None:
        """Add a message, and wake the reader."""
        self._messages.append(message)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def get(self) -> T:
        """The next message, as soon as there is one."""
        while not self._messages:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._messages.pop(0)


class Gate:
    """What of `asyncio.Event` a protocol uses. Set at first."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = True
        self._waiting: list[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        """Whether nobody has to wait."""
        return self._is_set

    def set(self) -> None:
        """Let those who wait go on."""
        self._is_set = True
        for waiting in self._waiting or ():
            if not waiting.done():
                waiting.set_result(None)
        self._waiting = None

    def clear(self) -> None:
        """Have those wait who come from now on."""
        self._is_set = False

    async def wait(self) -> bool:
        """Return when it is set, or has been since; True, as asyncio's."""
        if not self._is_set:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting = self._waiting or []
            self._waiting.append(waiting)
            await waiting
        return True
