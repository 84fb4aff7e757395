"""Gives clients their answers, at the client's pace and within limits: no thread waits, and memory is bounded.

`bridge` hands over answers that are whole, `static` files that are read as the client takes them. A client that takes
nothing for `SEND_SECONDS`, or less than `MIN_BYTES_PER_SECOND` in the long run, is cut off. When the answers that wait
need more than `held_bytes`, the address that holds most of them loses its oldest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from django.conf import settings

from config.server.clients import Connection, Seldom, address_of, connection_of

logger = logging.getLogger(__name__)

#: Bytes that are written at once: uvicorn's high-water mark, above which it waits until the client has taken some.
CHUNK = 65_536
#: Bytes a second that a client has to take in the long run: a modem of 1998 takes 7,000, a phone on EDGE more.
MIN_BYTES_PER_SECOND = 4_096

Headers = list[tuple[bytes, bytes]]

_slow = Seldom(logger, "A client at %s does not read its answer, and is cut off.")
_full = Seldom(logger, "Answers that nobody reads fill the memory for them: a client at %s is cut off.")


class Held:
    """Answers that wait for their readers, with their sizes in bytes."""

    def __init__(self, held_bytes: int) -> None:
        self.held_bytes = held_bytes
        self._total = 0
        self._by_address: Counter[str] = Counter()
        self._entries: dict[int, tuple[str, int, dict[str, Any]]] = {}  # in their order: the oldest first

    def hold(self, scope: dict[str, Any], size: int) -> None:
        """Count an answer, and make room for it at the cost of the address that holds most."""
        address = address_of(scope.get("client"))
        self._entries[id(scope)] = (address, size, scope)
        self._by_address[address] += size
        self._total += size
        while self._total > self.held_bytes and len(self._entries) > 1:
            [(greediest, _)] = self._by_address.most_common(1)
            oldest = next(found for holder, _, found in self._entries.values() if holder == greediest)
            self.let_go(oldest)
            _full.say(greediest)
            if (connection := connection_of(oldest)) is not None:
                connection.cut_off()

    def let_go(self, scope: dict[str, Any]) -> None:
        """The answer has gone out, or is given up. Harmless when that was said before."""
        if (entry := self._entries.pop(id(scope), None)) is None:
            return
        address, size, _ = entry
        self._total -= size
        self._by_address[address] -= size
        if not self._by_address[address]:
            del self._by_address[address]


held = Held(settings.HELD_MEGABYTES * 2**20)


async def give(scope: dict[str, Any], send: Any, status: int, headers: Headers, body: bytes) -> None:
    """Send an answer that is whole.

    Most answers fit into one chunk, which goes out in one step. For these a timer that cuts the client off is all that
    is needed; the block that watches each step costs ten times as much as to start a timer and to stop it.
    """
    held.hold(scope, len(body))
    connection = connection_of(scope)
    try:
        if len(body) <= CHUNK and connection is not None:
            late = asyncio.get_running_loop().call_later(settings.SEND_SECONDS, _cut_off, scope, connection)
            try:
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": body, "more_body": False})
            finally:
                late.cancel()
            return
        async with _within_limits(scope, len(body)) as progress:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            for part, more in _parts(body):
                progress()
                await send({"type": "http.response.body", "body": part, "more_body": more})
    finally:
        held.let_go(scope)


async def give_parts(
    scope: dict[str, Any], send: Any, status: int, headers: Headers, parts: AsyncIterator[bytes], size: int
) -> None:
    """Send an answer of `size` bytes whose parts come one by one; the next is asked for when the last is on its way."""
    connection = connection_of(scope)
    async with _within_limits(scope, size) as progress:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        async for part in parts:
            progress()
            await send({"type": "http.response.body", "body": part, "more_body": True})
            if connection is not None and connection.gone():
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@asynccontextmanager
async def _within_limits(scope: dict[str, Any], size: int) -> AsyncIterator[Any]:
    """A block that is left, and whose client is cut off, when the answer is not taken in time.

    Gives the function to call at each step forward.
    """
    now = asyncio.get_running_loop().time
    end = now() + settings.SEND_SECONDS + size / MIN_BYTES_PER_SECOND
    try:
        async with asyncio.timeout(settings.SEND_SECONDS) as limit:
            yield lambda: limit.reschedule(min(end, now() + settings.SEND_SECONDS))
    except TimeoutError:
        if (connection := connection_of(scope)) is None:
            raise
        _cut_off(scope, connection)


def _cut_off(scope: dict[str, Any], connection: Connection) -> None:
    """Give a client up that does not take its answer; whoever sends it finds the connection gone."""
    _slow.say(address_of(scope.get("client")))
    connection.cut_off()


def _parts(body: bytes) -> Iterator[tuple[bytes, bool]]:
    """The body in chunks, and of each whether there is another."""
    if len(body) <= CHUNK:
        yield body, False
        return
    view = memoryview(body)
    for start in range(0, len(body), CHUNK):
        yield bytes(view[start : start + CHUNK]), start + CHUNK < len(body)
