"""One client's connection, whatever carries it: followed from its first frame to its last.

`consumers` (WebSocket) and `streaming` (server-sent events, long polling) bring the two ends; what is the same for all
of them is here: subscribing, writing, reading, and the good-bye.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from notifications import protocol
from notifications.access.credentials import Credential
from notifications.delivery.hub import Hub, Refused
from notifications.delivery.outbox import Send
from notifications.delivery.subscriber import RETRY_MS, Subscriber
from notifications.protocol import CloseCode

logger = logging.getLogger(__name__)

#: Seconds that a good-bye may take on a connection that does not read; the listener's TCP_USER_TIMEOUT frees the rest.
CLOSE_TIMEOUT = 2.0
#: Digits of a position: all that fit into the column, and none that do not.
MAX_DIGITS = 18

Read = Callable[[Subscriber], Awaitable[None]]


class BadPosition(ValueError):
    """`after` is not a number of a stream."""


def position(query_string: bytes) -> tuple[int | None, str | None]:
    """`?after=<seq>&stream=<id>`; raises `BadPosition`."""
    query = parse_qs(query_string.decode("latin-1"))
    return number(query.get("after", [None])[-1]), query.get("stream", [None])[-1]


def number(text: str | None) -> int | None:
    """A position from its text, None from none; raises `BadPosition`."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise BadPosition(text)
    return int(text)


async def follow(
    hub: Hub,
    credential: Credential,
    *,
    send: Send,
    read: Read,
    after: int | None,
    stream_uid: str | None,
    answers_pings: bool = True,
) -> CloseCode | None:
    """Serve a client until the connection ends; gives the code to close with, None if the client is gone.

    `send` writes one frame, `read` takes what the client sends and returns when it has gone. Before a 4000 the client
    has been told, by `bye`, when to come back.
    """
    try:
        async with hub.subscribe(
            credential=credential, send=send, after=after, stream_uid=stream_uid, answers_pings=answers_pings
        ) as subscriber:
            code = await _serve(subscriber, read)
            if code is CloseCode.DRAIN:
                await within_moments(send(protocol.bye(code=code, retry_ms=subscriber.retry_ms)))
    except Refused as refused:
        code = refused.code
        if code is CloseCode.DRAIN:
            await within_moments(send(protocol.bye(code=code, retry_ms=RETRY_MS)))
    return code


async def _serve(subscriber: Subscriber, read: Read) -> CloseCode | None:
    writing = asyncio.create_task(subscriber.outbox.write())
    reading = asyncio.ensure_future(read(subscriber))
    writing.add_done_callback(partial(_ended, subscriber))
    reading.add_done_callback(partial(_ended, subscriber))
    try:
        return await subscriber.closed
    finally:
        # A consumer's `disconnect` does not run when a send has raised; this does.
        writing.cancel()
        reading.cancel()
        await asyncio.gather(writing, reading, return_exceptions=True)


def _ended(subscriber: Subscriber, task: asyncio.Future[None]) -> None:
    """One half of the connection is over. That the client has gone is everyday life; an error of ours is said so."""
    error = None if task.cancelled() else task.exception()
    if error is None or isinstance(error, OSError):  # uvicorn's ClientDisconnected is one
        subscriber.close(None)
    else:
        logger.error("A connection ended in an error.", exc_info=error)
        subscriber.close(CloseCode.BUSY)


async def within_moments(sending: Awaitable[None]) -> None:
    """Await a last word to a client that may be gone, or not read."""
    with suppress(Exception):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await sending


async def until_gone(receive: Any) -> None:
    """Until the client of an HTTP request goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass
