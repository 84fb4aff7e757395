"""What waits for one client: a bounded queue of frames, and the task that writes them to its connection.

`hub` fills it without ever waiting, so that one slow reader delays nobody. When the bound is reached the hub stops
filling, and reads the log later, as the client drains: the log is the buffer, not this process's memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

#: Bounds of what may wait for one client, beside the 64 KiB that the transport itself buffers. Enough for a burst on a
#: good connection; 10,000 stuck clients take some 1.3 GiB at the very worst.
MAX_FRAMES = 256
MAX_CHARACTERS = 128 * 1024

Send = Callable[[str], Awaitable[None]]


class Outbox:
    """Frames in order, for one client. `drained` is called whenever it has run empty."""

    __slots__ = ("_characters", "_drained", "_send", "_waker", "stalled_since", "waiting")

    def __init__(self, send: Send, drained: Callable[[], None]) -> None:
        self._send = send
        self._drained = drained
        #: The frames, the oldest first. To look at. A list, since an empty deque weighs 600 bytes in each idle socket.
        self.waiting: list[str] = []
        self._characters = 0
        self._waker: asyncio.Future[None] | None = None
        #: Seconds (`time.monotonic`) since which a frame waits without being taken; None when nothing waits.
        self.stalled_since: float | None = None

    @property
    def empty(self) -> bool:
        return not self.waiting

    def put(self, frame: str) -> bool:
        """Queue a frame; False, and nothing queued, when the bound is reached. A frame above it all goes alone."""
        waiting = self.waiting
        if len(waiting) >= MAX_FRAMES or (waiting and self._characters + len(frame) > MAX_CHARACTERS):
            return False
        # As `put_always`, without the call: this runs once for each delivery.
        if self.stalled_since is None:
            self.stalled_since = time.monotonic()
        waiting.append(frame)
        self._characters += len(frame)
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)
        return True

    def put_always(self, frame: str) -> None:
        """Queue a frame beyond the bound. The caller has a bound of its own."""
        if self.stalled_since is None:
            self.stalled_since = time.monotonic()
        self.waiting.append(frame)
        self._characters += len(frame)
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    async def write(self) -> None:
        """Write what is queued, for ever. Ends only by cancellation, or with what `send` raises."""
        waiting = self.waiting
        while True:
            while waiting:
                # The frame stays queued until it is taken, so that the bound counts it.
                frame = waiting[0]
                await self._send(frame)
                del waiting[0]
                self._characters -= len(frame)
                self.stalled_since = time.monotonic() if waiting else None
            self._drained()
            self._waker = asyncio.get_running_loop().create_future()
            if not waiting:
                await self._waker
            self._waker = None
