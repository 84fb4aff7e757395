"""Takes a request's body in on the event loop, before one of Django's threads is taken for the request.

a2wsgi lets a thread wait for the body: as many clients as there are threads, each with half a body, would stop all of
HTTP. What a body may be is for Django and the API to say; here it has to come in time, and to fit into memory.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig

from notifications.problems import send_problem

#: Seconds for a whole body. The largest, of 2.5 MB, then needs a line of 700 kbit/s.
SECONDS = 30.0
#: Bytes of all bodies that a process holds at once: 25 of the largest, or 300 batches of a thousand changes.
HELD_BYTES = 64 * 2**20


class TooMany(Exception):
    """This body and those that the process holds already are more than `HELD_BYTES`."""


class Gone(Exception):
    """The client went away before its body was whole."""


class Bodies:
    """ASGI middleware: `inner` gets the body as one message, and never hears of a client that went away before.

    A body that takes more than `seconds` is answered 408, one for which no memory is left 503, and both say when to try
    again.
    """

    def __init__(self, inner: Any, *, seconds: float = SECONDS, held_bytes: int = HELD_BYTES) -> None:
        self.inner = inner
        self.seconds = seconds
        self.held_bytes = held_bytes
        self._held = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self.seconds):
                    more = await self._take(receive, body)
            except TimeoutError:
                await _refuse(send, HTTPStatus.REQUEST_TIMEOUT, "body_too_slow", "The body did not come in time.")
            except TooMany:
                await _refuse(send, HTTPStatus.SERVICE_UNAVAILABLE, "busy", "Too many bodies at once. Try again.")
            except Gone:
                pass
            else:
                await self.inner(scope, _replayed(bytes(body), more, receive), send)
        finally:
            self._held -= len(body)

    async def _take(self, receive: Any, body: bytearray) -> bool:
        """Fill `body`. Whether there is more of it, beyond what Django takes.

        Raises `Gone` and `TooMany`.
        """
        more = True
        while more and len(body) <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            part = message.get("body", b"")
            if self._held + len(part) > self.held_bytes:
                raise TooMany
            self._held += len(part)
            body += part
            more = message.get("more_body", False)
        return bool(more)


def _replayed(body: bytes, more: bool, receive: Any) -> Any:
    """A `receive` that begins with the body. If there is more than Django takes, asking for it is Django's 400."""
    first = iter([{"type": "http.request", "body": body, "more_body": more}])

    async def again() -> Any:
        if (message := next(first, None)) is not None:
            return message
        if more:
            raise RequestDataTooBig("The body is longer than DATA_UPLOAD_MAX_MEMORY_SIZE.")
        return await receive()

    return again


async def _refuse(send: Any, status: HTTPStatus, code: str, detail: str) -> None:
    """Answer with a problem, and close: the rest of the body is not read."""
    await send_problem(send, status, code=code, detail=detail, headers={"Connection": "close"})
