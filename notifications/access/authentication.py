"""Authentication of a handshake, in the order of the contract: Bearer token, ticket, session cookie.

Puts a `Credential`, or the `CloseCode` of a refusal, into `scope["credential"]`; the consumer acts on it. A browser
sends its cookies to us from any page, so whenever the cookie is what authenticates, the page's origin must be an
allowed one.
Credentials are never read from the URL: URLs are logged.
"""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.db import Error
from django.http import parse_cookie
from django.http.request import validate_host

from notifications import protocol
from notifications.access import credentials, tickets
from notifications.access.credentials import Credential
from notifications.conf import settings as engine
from notifications.database import SharedThreads
from notifications.gathering import Gathering
from notifications.protocol import TICKET_PREFIX, CloseCode

logger = logging.getLogger(__name__)

#: Handshakes come in storms, and are checked together, for all the paths that are followed at.
_database = SharedThreads("handshake")
_tokens = Gathering(_database, credentials.from_tokens)
_stream_tokens = Gathering(_database, tickets.from_stream_tokens)
_tickets = Gathering(_database, tickets.redeem_all)
_sessions = Gathering(_database, credentials.from_sessions)


class Authentication:
    """ASGI middleware around the consumers."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.database = _database

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            credential = await self.authenticate(scope)
        except Error as error:
            logger.warning("A handshake cannot be checked: %r", error)
            credential = CloseCode.BUSY
        # Into the very scope: a copy would last as long as the connection.
        scope["credential"] = credential
        await self.inner(scope, receive, send)

    async def authenticate(self, scope: dict[str, Any]) -> Credential | CloseCode:
        """The first kind of credential that is there decides, also if it is a bad one."""
        headers = headers_of(scope)
        found: Credential | None = None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        ticket = _ticket(scope)
        session_key = parse_cookie(headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME)
        if scheme.lower() == "bearer":
            token = token.strip()
            # A stream token is for where WebSockets are blocked, and so opens none.
            exchanged = scope["type"] == "http" and token.startswith(tickets.STREAM_TOKEN)
            found = await (_stream_tokens if exchanged else _tokens).find(token)
        elif ticket is not None:
            found = await _tickets.find(ticket)
        elif session_key:
            if _comes_from_a_page(scope, headers) and not origin_is_allowed_in(scope, headers):
                return CloseCode.FORBIDDEN_ORIGIN
            found = await _sessions.find(session_key)
        return found or CloseCode.NOT_AUTHENTICATED


def _comes_from_a_page(scope: dict[str, Any], headers: dict[str, str]) -> bool:
    """Whether the cookie counts only if the origin is allowed.

    Browsers send Origin with every WebSocket handshake (RFC 6455, 4.1), but not with every GET. Where a page of another
    site embeds the stream as an image or leads to it by a link, Sec-Fetch-Site tells it apart (W3C Fetch Metadata, 2.3)
    from a page of this site and from a user who has typed the address (`none`). Clients that are no browsers send
    neither header.
    """
    return (
        scope["type"] == "websocket"
        or "origin" in headers
        or headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
    )


def headers_of(scope: dict[str, Any]) -> dict[str, str]:
    """The request's headers by their names in lower case; of a repeated one the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def origin_is_allowed_in(scope: dict[str, Any], headers: dict[str, str]) -> bool:
    """`origin_is_allowed` for a request."""
    secure = scope.get("scheme") in ("wss", "https")
    return origin_is_allowed(headers.get("origin"), headers.get("host", ""), secure=secure)


def origin_is_allowed(origin: str | None, host: str, *, secure: bool) -> bool:
    """Whether a page from `origin` may use the user's cookie: this very site, or one named in `ALLOWED_ORIGINS`.

    Compared whole, scheme and port included (RFC 6454); one that is missing is not allowed.
    """
    if not origin:
        return False
    if origin in engine.ALLOWED_ORIGINS or "*" in engine.ALLOWED_ORIGINS:
        return True
    if not validate_host(_without_port(host), settings.ALLOWED_HOSTS):
        return False
    return origin == f"{'https' if secure else 'http'}://{host}"


def _ticket(scope: dict[str, Any]) -> str | None:
    """The ticket in the subprotocol pair `orderwire.v1, ticket.<ticket>`."""
    offered = scope.get("subprotocols", ())
    if protocol.SUBPROTOCOL not in offered:
        return None
    return next((name.removeprefix(TICKET_PREFIX) for name in offered if name.startswith(TICKET_PREFIX)), None)


def _without_port(host: str) -> str:
    name, separator, port = host.rpartition(":")
    return name.lower() if separator and port.isdigit() else host.lower()
