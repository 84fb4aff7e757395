"""Cross-origin requests (WHATWG Fetch, 3.2) for the routes that a page of another site needs, in front of each of them.

Pages of exactly the origins in `ALLOWED_ORIGINS` may read the answers. Browsers ask first, by a preflight, since a page
sends its stream token in a header; the preflight of any other origin is refused. Who may have what is not decided here:
an answer that a page may not read is made all the same.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from notifications.access.authentication import headers_of
from notifications.conf import settings
from notifications.problems import send_problem

#: What a page may send beyond what browsers let every page send.
HEADERS = b"Authorization, Content-Type, Last-Event-ID"
#: What a page may read beyond what browsers let every page read.
EXPOSED = b"Retry-After, X-Request-ID"
#: Seconds for which a browser need not ask again. Ten minutes spare a poller nearly all of them, and an origin that is
#: taken from the list is out soon; its requests are answered by the list of the moment anyway.
MAX_AGE = b"600"


class Cors:
    """ASGI middleware around one route; `method` is the one that pages use there."""

    def __init__(self, inner: Any, method: str = "GET") -> None:
        self.inner = inner
        self.method = method.encode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = headers_of(scope)
        allowed = _allowed(headers.get("origin"))
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._preflight(allowed, send)
            return
        if allowed:
            allowed = [*allowed, (b"access-control-expose-headers", EXPOSED)]

        async def sending(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *allowed, VARY]}
            await send(message)

        await self.inner(scope, receive, sending)

    async def _preflight(self, allowed: list[tuple[bytes, bytes]], send: Any) -> None:
        if not allowed:
            detail = "Pages of this origin may not read the answer."
            await send_problem(
                send, HTTPStatus.FORBIDDEN, code="forbidden_origin", detail=detail, headers={"Vary": "Origin"}
            )
            return
        answer = [
            (b"access-control-allow-methods", self.method),
            (b"access-control-allow-headers", HEADERS),
            (b"access-control-max-age", MAX_AGE),
        ]
        headers = [*allowed, *answer, VARY]
        await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT.value, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


#: On every answer, also to nobody's page: a cache must not give one origin what another was given.
VARY = (b"vary", b"Origin")


def _allowed(origin: str | None) -> list[tuple[bytes, bytes]]:
    """The headers that let the page of that origin read an answer; none for an origin that is not on the list.

    The list names whom the user's cookie is for. `*`, which only a service in DEBUG takes, is for pages without it.
    """
    if origin in settings.ALLOWED_ORIGINS and origin is not None:
        named = (b"access-control-allow-origin", origin.encode("latin-1"))
        return [named, (b"access-control-allow-credentials", b"true")]
    if origin is not None and "*" in settings.ALLOWED_ORIGINS:
        return [(b"access-control-allow-origin", b"*")]
    return []
