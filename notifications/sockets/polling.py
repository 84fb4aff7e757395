"""Long polling, for networks that let nothing through but short answers; fed by the same hub as sockets and streams.

`LongPoll` stands in front of the API's path for the caller's notifications: with `?wait=` it holds the request until
there is something after `after`, and then lets the API answer. An ASGI application: a waiting client must not occupy
one of Django's threads.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from notifications.access.authentication import Authentication
from notifications.access.credentials import Credential
from notifications.delivery.subscriber import Subscriber
from notifications.protocol import CloseCode, Reset
from notifications.sockets import connection

#: Seconds that a poll may wait at most: proxies give up on a silent request after 30 to 60 s.
MAX_WAIT = 25.0
#: Seconds for which a poll rests that cannot wait: a client that asks again at once would ask all the time.
POLL_REST = 1.0
#: What a poll answers to. Not what is said aside: the answer would have nothing of it, and its client ask again at
#: once.
NEWS = ('{"type":"notification"', '{"type":"reset"', '{"type":"read"')
#: Why a poll could not wait although nothing is wrong with it.
NO_ROOM = (CloseCode.BUSY, CloseCode.DRAIN, CloseCode.TOO_MANY_SOCKETS)


class LongPoll:
    """Holds `?wait=<seconds>` back until the caller's stream has something new, then lets `inner` answer.

    Whatever is wrong with the request (no credential, a bad `after`) is for `inner` to say, at once.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.poll = Authentication(self._poll)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        waits = scope["method"] == "GET" and "wait" in _query(scope)
        await (self.poll if waits else self.inner)(scope, receive, send)

    async def _poll(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        request = await receive()
        with suppress(ValueError):  # BadPosition is one
            after, stream_uid = connection.position(scope["query_string"])
            seconds = float(_query(scope)["wait"][-1])
            if isinstance(scope["credential"], Credential) and seconds > 0:
                # A caller who names no number holds none: so the API reads it too.
                seconds = min(seconds, MAX_WAIT)
                waited = await self._wait(scope, receive, after or 0, stream_uid, seconds)
                if not waited:
                    # The answer may be empty, and the client ask again at once: it rests here, and is told to.
                    await _rest(receive, min(seconds, POLL_REST))
                    send = _with_retry_after(send)
        received = iter([request])

        async def again() -> Any:
            return next(received, None) or await receive()

        await self.inner(scope, again, send)

    async def _wait(
        self, scope: dict[str, Any], receive: Any, after: int, stream_uid: str | None, seconds: float
    ) -> bool:
        """Until something comes after `after`, the time is over, or the caller goes away.

        False if the poll could not wait at all: nobody more can follow here now, or what comes after `after` is lost.
        """
        news = asyncio.Event()
        lost = False

        async def look(frame: str) -> None:
            nonlocal lost
            if frame.startswith('{"type":"reset"'):
                # A page is never too far behind to be given.
                lost = json.loads(frame)["reason"] != Reset.TOO_MANY
            if frame.startswith(NEWS):
                news.set()

        async def read(_: Subscriber) -> None:
            ends = {asyncio.ensure_future(connection.until_gone(receive)), asyncio.ensure_future(news.wait())}
            try:
                await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()

        code = await connection.follow(
            scope["state"]["hub"],
            scope["credential"],
            send=look,
            read=read,
            after=after,
            stream_uid=stream_uid,
            answers_pings=False,
        )
        return code not in NO_ROOM and not lost


async def _rest(receive: Any, seconds: float) -> None:
    """That long, or until the caller goes away."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await connection.until_gone(receive)


def _with_retry_after(send: Any) -> Any:
    """Tells a client that comes back when to do so (RFC 9110, 10.2.3)."""

    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"retry-after", b"%d" % POLL_REST)]}
        await send(message)

    return sending


def _query(scope: dict[str, Any]) -> dict[str, list[str]]:
    return parse_qs(scope["query_string"].decode("latin-1"))
