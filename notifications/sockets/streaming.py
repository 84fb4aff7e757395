"""The same stream as server-sent events (WHATWG HTML, 9.2), for networks that block WebSockets; fed by the same hub.

Written for a plain `EventSource`. That comes back by itself after the end of any answer 200, with the last id that it
was given and after the last `retry:`, and never again after another status. An ASGI application: a waiting client must
not occupy one of Django's threads.
"""

from __future__ import annotations

import json
import random
from http import HTTPStatus
from typing import Any

from notifications.access.authentication import headers_of
from notifications.access.credentials import Credential
from notifications.delivery.subscriber import RETRY_MS
from notifications.problems import send_problem
from notifications.protocol import CloseCode
from notifications.sockets import connection

#: When an `EventSource` comes back that shall stop, in milliseconds: it always does, since it knows no codes.
STOP_RETRY_MS = (60_000, 120_000)
#: When it comes back where the database is away or the process is full.
BUSY_RETRY_MS = (2_000, 10_000)
#: The close codes from here on mean that the client shall stop.
STOP = 4500
#: What a refused stream answers to a client that must not try again. For any other reason the answer is a stream, which
#: ends at once and says why.
STATUS = {
    CloseCode.NOT_AUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    CloseCode.FORBIDDEN_ORIGIN: HTTPStatus.FORBIDDEN,
}
DETAIL = {
    HTTPStatus.UNAUTHORIZED: "A Bearer token or a session is needed.",
    HTTPStatus.FORBIDDEN: "Pages of this origin may not read the stream.",
    HTTPStatus.BAD_REQUEST: "The position is not a number of a stream.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The stream is read with GET.",
}


class EventStream:
    """`GET /api/v1/stream`. Every frame of the protocol is an event; a notification's `id` is its number."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        credential: Credential | CloseCode = scope["credential"]
        headers = headers_of(scope)
        if scope["method"] == "OPTIONS":
            await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", b"GET, OPTIONS")]})
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["method"] != "GET":
            await _refuse(send, HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", {"Allow": "GET, OPTIONS"})
            return
        if isinstance(credential, CloseCode) and credential in STATUS:
            status = STATUS[credential]
            challenge = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else {}
            await _refuse(send, status, credential.name.lower(), challenge)
            return
        try:
            after, stream_uid = connection.position(scope["query_string"])
            # The browser's own memory wins: it is of this connection, the URL is of the page's beginning.
            remembered = connection.number(headers.get("last-event-id") or None)
            after = after if remembered is None else remembered
        except connection.BadPosition:
            await _refuse(send, HTTPStatus.BAD_REQUEST, "invalid_position")
            return

        await send({"type": "http.response.start", "status": 200, "headers": EVENT_STREAM})
        code: CloseCode | None
        if isinstance(credential, CloseCode):
            code = credential
        else:
            code = await connection.follow(
                scope["state"]["hub"],
                credential,
                send=lambda frame: send({"type": "http.response.body", "body": _event(frame), "more_body": True}),
                read=lambda _: connection.until_gone(receive),
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
    """One event. A frame is JSON on one line, so it is one `data` field.

    Its id is the number from which a client goes on that has seen this event and nothing after it.
    """
    if frame.startswith(_NOTIFICATION):
        # Every notification's frame begins alike, so that its number is found without parsing the rest.
        fields = f"id: {frame.removeprefix(_NOTIFICATION).partition(',')[0]}\n"
    else:
        fields = _fields(json.loads(frame))
    return f"{fields}data: {frame}\n\n".encode()


_NOTIFICATION = '{"type":"notification","seq":'


def _fields(frame: dict[str, Any]) -> str:
    """The fields of an event that is no notification, beside its data."""
    match frame:
        case {"type": "welcome", "after": after}:
            # Also undoes what the last connection was told.
            return f"id: {after}\n{_retry(RETRY_MS)}"
        case {"type": "reset", "head": head}:
            return f"id: {head}\n"
        case {"type": "bye", "retry_ms": [least, most]}:
            return _retry((least, most))
        case {"type": "close", "code": CloseCode.BUSY}:
            return _retry(BUSY_RETRY_MS)
        case {"type": "close", "code": code} if code >= STOP:
            return _retry(STOP_RETRY_MS)
    return ""


def _retry(between: tuple[int, int]) -> str:
    """Milliseconds at random, so that those who are sent away together do not come back together."""
    return f"retry: {random.randint(*between)}\n"  # noqa: S311 -- no secret


async def _refuse(send: Any, status: HTTPStatus, code: str, headers: dict[str, str] | None = None) -> None:
    await send_problem(send, status, code=code, detail=DETAIL[status], headers=headers)
