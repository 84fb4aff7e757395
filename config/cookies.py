"""Drops cookies that would take minutes to read, before anybody reads one.

Python unquotes a quoted cookie in a time that grows with the square of its escapes (CVE-2024-7592; fixed in 3.11.10 and
3.12.6), and whoever has no log-in can send it. None of ours is quoted. A request without its cookies is one of nobody.
"""

from __future__ import annotations

from typing import Any

#: Escapes in all cookies of a request. Some scripts of shops keep a little JSON in a cookie; ours have none.
MAX_ESCAPES = 200


class Cookies:
    """ASGI middleware around all that reads cookies."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        escapes = sum(value.count(b"\\") for name, value in scope["headers"] if name == b"cookie")
        if escapes > MAX_ESCAPES:
            scope = {**scope, "headers": [header for header in scope["headers"] if header[0] != b"cookie"]}
        await self.inner(scope, receive, send)
