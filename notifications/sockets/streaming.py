"""The same stream over plain HTTP, for networks that block WebSockets; fed by the same hub.

`EventStream` is `/api/v1/stream`: server-sent events (WHATWG HTML, 9.2), resumed by `Last-Event-ID`. `LongPoll` stands
in front of `/api/v1/notifications?wait=`: it waits until there is something after `after`, and lets the API answer.
Both are ASGI applications: a waiting client must not occupy one of Django's threads.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from notifications.access.authentication import Authentication, headers_of, origin_is_allowed_in
from notifications.access.credentials import Credential
from notifications.delivery.subscriber import Subscriber
from notifications.problems import send_problem
from notifications.protocol import CloseCode
from notifications.sockets import connection

#: Seconds that a poll may wait at most: proxies give up on a silent request after 30 to 60 s.
MAX_WAIT = 25.0
#: What a refused stream answers.
STATUS = {
    CloseCode.NOT_AUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    CloseCode.FORBIDDEN_ORIGIN: HTTPStatus.FORBIDDEN,
}
DETAIL = {
    HTTPStatus.UNAUTHORIZED: "A Bearer token or a session is needed.",
    HTTPStatus.FORBIDDEN: "Pages of this origin may not read the stream.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The credential cannot be checked now. Try again.",
    HTTPStatus.BAD_REQUEST: "The position is not a number of a stream.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The stream is read with GET.",
}


class EventStream:
    """`GET /api/v1/stream`. Every frame of the protocol is an event; a notification's `id` is its number."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        credential: Credential | CloseCode = scope["credential"]
        headers = headers_of(scope)
        if scope["method"] != "GET":
            await _refuse(send, HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", {"Allow": "GET"})
            return
        if isinstance(credential, CloseCode):
            status = STATUS.get(credential, HTTPStatus.SERVICE_UNAVAILABLE)
            challenge = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else {}
            await _refuse(send, status, credential.name.lower(), challenge)
            return
        try:
            after, stream_uid = connection.position(scope["query_string"])
            # The browser's own memory wins: it is of this connection, the URL is of the page's beginning.
            after = connection.number(headers.get("last-event-id")) if "last-event-id" in headers else after
        except connection.BadPosition:
            await _refuse(send, HTTPStatus.BAD_REQUEST, "invalid_position")
            return

        await send({"type": "http.response.start", "status": 200, "headers": [*EVENT_STREAM, *_cors(scope, headers)]})
        code = await connection.follow(
            scope["state"]["hub"],
            credential,
            send=lambda frame: send({"type": "http.response.body", "body": _event(frame), "more_body": True}),
            read=lambda _: _until_gone(receive),
            after=after,
            stream_uid=stream_uid,
            answers_pings=False,
        )
        if code is not None:
            # There is no close code here; an event stands for it, and the client stops or comes back as it says.
            last = json.dumps({"type": "close", "code": int(code), "reason": code.name.lower()})
            await connection.within_moments(
                send({"type": "http.response.body", "body": _event(last), "more_body": False})
            )


EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # nginx would collect the events into buffers before it passes them on.
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


def _event(frame: str) -> bytes:
    """One event. A frame is JSON on one line, so it is one `data` field."""
    # Every notification's frame begins alike, so that its number is found without parsing the rest.
    number = frame.removeprefix(_NOTIFICATION).partition(",")[0] if frame.startswith(_NOTIFICATION) else ""
    return (f"id: {number}\n" if number else "").encode() + f"data: {frame}\n\n".encode()


_NOTIFICATION = '{"type":"notification","seq":'


async def _until_gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _cors(scope: dict[str, Any], headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """A page of another, allowed origin may read the stream, with the user's cookie."""
    origin = headers.get("origin")
    if origin is None or not origin_is_allowed_in(scope, headers):
        return [(b"vary", b"Origin")]
    return [
        (b"vary", b"Origin"),
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
    ]


async def _refuse(send: Any, status: HTTPStatus, code: str, headers: dict[str, str] | None = None) -> None:
    await send_problem(send, status, code=code, detail=DETAIL[status], headers=headers)


def _query(scope: dict[str, Any]) -> dict[str, list[str]]:
    return parse_qs(scope["query_string"].decode("latin-1"))


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
                # Who names no number holds none: so the API reads it too.
                await self._wait(scope, receive, after or 0, stream_uid, min(seconds, MAX_WAIT))
        received = iter([request])

        async def again() -> Any:
            return next(received, None) or await receive()

        await self.inner(scope, again, send)

    async def _wait(
        self, scope: dict[str, Any], receive: Any, after: int, stream_uid: str | None, seconds: float
    ) -> None:
        """Until something comes after `after`, the time is over, or the caller goes away."""
        news = asyncio.Event()

        async def look(frame: str) -> None:
            if not frame.startswith(('{"type":"welcome"', '{"type":"ping"')):
                news.set()

        async def read(_: Subscriber) -> None:
            ends = {asyncio.ensure_future(_until_gone(receive)), asyncio.ensure_future(news.wait())}
            try:
                await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()

        await connection.follow(
            scope["state"]["hub"],
            scope["credential"],
            send=look,
            read=read,
            after=after,
            stream_uid=stream_uid,
            answers_pings=False,
        )
