"""What the modules that bound clients share: the client's address as they count it, and log lines that do not flood.

The address is the one of `X-Forwarded-For` where a proxy that is trusted sent it (uvicorn's `scope["client"]`).
"""

from __future__ import annotations

import ipaddress
import logging
import time
from typing import Any, Protocol

#: Seconds between two lines of one kind: an attacker that reconnects must not fill the disk with lines.
SELDOM_SECONDS = 10.0
#: The key of `scope["extensions"]` under which `http_protocol` puts the request's `Connection`.
EXTENSION = "orderwire.connection"
#: An IPv6 host has a whole network of this prefix to choose addresses from (RFC 6177).
IPV6_PREFIX = 64


class Connection(Protocol):
    """The connection under a request."""

    def gone(self) -> bool:
        """Whether nobody is there any more to read an answer."""

    def cut_off(self) -> None:
        """Drop the connection at once, and what waits to be sent with it."""


def connection_of(scope: dict[str, Any]) -> Connection | None:
    """The connection under a request; None under a server that is not ours."""
    found: Connection | None = scope.get("extensions", {}).get(EXTENSION)
    return found


def address_of(client: tuple[str, int] | None) -> str:
    """Whom a client is counted as: its IPv4 address, or its IPv6 network; "" where there is none (a UNIX socket)."""
    if not client:
        return ""
    host = client[0]
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False))


class Seldom:
    """Warnings of one kind, one in SELDOM_SECONDS: the next says how many were left out."""

    def __init__(self, logger: logging.Logger, message: str) -> None:
        self._logger, self._message = logger, f"{message}%s"
        self._said_at = float("-inf")
        self._left_out = 0

    def say(self, *words: object) -> None:
        now = time.monotonic()
        if now < self._said_at + SELDOM_SECONDS:
            self._left_out += 1
            return
        more = f" ({self._left_out} more like it before)" if self._left_out else ""
        self._said_at, self._left_out = now, 0
        self._logger.warning(self._message, *words, more)
