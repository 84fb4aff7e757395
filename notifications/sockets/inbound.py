"""What clients may send over a socket: the application's own types of frames (`ClientFrame`), and how many of all.

An application gives its types to `Lifespan`; `consumers` calls them. What a frame means, and whether its sender may, is
the application's to say at each one. What must not be left to it is here: how long a frame may be before anybody reads
it, how many may come, that a slow one holds up nothing but its own connection, and that a refusal names its frame.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from notifications import protocol
from notifications.access.credentials import Credential
from notifications.database import SharedThreads
from notifications.protocol import BadFrame, Refusal

#: For what inbound frames read and write: rare and short.
database = SharedThreads("inbound")

#: What handles a frame: the proof of who sent it, and its members. It runs beside the event loop, one at a time for all
#: of the process's sockets, and may query. It gives the frame that answers (`protocol.frame`), or None. It raises
#: `Refusal` for what is understood and not done, `BadFrame` for what no honest client sends: the tenth of those ends
#: the connection.
Take = Callable[[Credential, Mapping[str, Any]], str | None]


@dataclass(frozen=True)
class ClientFrame:
    """A type of frame of the application's own."""

    #: None of the protocol's: `pong`, `read`, `ticket`.
    type: str
    take: Take
    #: Characters of the whole frame, as JSON; the server's own limit (`ws_max_size`, in bytes) has to let them pass.
    max_characters: int
    #: How many one connection may send at once, and on the long run in each so many seconds.
    rate: tuple[int, float]


class Frames:
    """The application's types, in one process."""

    def __init__(self, frames: Iterable[ClientFrame] = ()) -> None:
        self._known = {frame.type: frame for frame in frames}
        #: How many characters each type may have: `protocol.parse` asks.
        self.limits = {frame.type: frame.max_characters for frame in self._known.values()}

    async def take(self, credential: Credential, frame: protocol.Other, rates: dict[str, Rate]) -> str | None:
        """Have a frame handled; gives what answers it. Raises what its handler raises, and `Refusal` for too many.

        `rates` are the sender's connection's, empty at first.
        """
        known = self._known[frame.type]
        if (rate := rates.get(frame.type)) is None:
            rate = rates[frame.type] = Rate(*known.rate)
        if wait := rate.count():
            raise Refusal("rate", f"Too many frames of type {frame.type}.", retry_after=math.ceil(wait))
        return await database.run(known.take, credential, frame.fields)


#: Where an application has none.
NO_FRAMES = Frames()


def error(bad: BadFrame, frame: protocol.Inbound | None) -> str:
    """What is said of a frame that was not understood, or not done."""
    about: dict[str, Any] = {}
    if isinstance(frame, protocol.Other) and frame.client_id is not None:
        about["client_id"] = frame.client_id
    if isinstance(bad, Refusal) and bad.retry_after is not None:
        about["retry_after"] = bad.retry_after
    return protocol.error(code=bad.code, detail=str(bad), **about)


class Rate:
    """A token bucket: `limit` events at once, and on the long run `limit` in each `seconds`."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit, self._per_second = float(limit), limit / seconds
        self._left = self._limit
        self._at = asyncio.get_running_loop().time()

    def count(self) -> float:
        """Count one event; gives 0, or the seconds until it may come if it is one too many, and is not counted."""
        now = asyncio.get_running_loop().time()
        self._left = min(self._limit, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return (1 - self._left) / self._per_second
        self._left -= 1
        return 0.0
