"""Connections without manners: bytes as a test wants them, with which no client library would help."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests.deployment import Web
from tests.polling import PATIENCE

#: Some 1.6 MB, and served by every deployment under this name.
BUNDLE = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
TEXT, PING = 0x1, 0x9
CONTINUATION = 0x0


@contextmanager
def connected(web: Web, count: int = 1, *, address: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """So many connections from that address of the loopback, reset at the end if they are open."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            connection.settimeout(PATIENCE)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # little is taken by the kernel
            connection.bind((address, 0))
            connection.connect(("127.0.0.1", web.port))
            stack.callback(reset, connection)
            found.append(connection)
        yield found


def reset(connection: socket.socket) -> None:
    """Go away without a word to the server, as a phone in a tunnel, or an attacker, does."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def get(path: str, *headers: str) -> bytes:
    """A request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def rest(connection: socket.socket) -> bytes:
    """Everything until the server closes or resets the connection; TimeoutError if it does not."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            found += part
    return found


def status(connection: socket.socket) -> int:
    """The status of the answer that comes next."""
    return int(connection.recv(65_536).split(b" ", 2)[1])


def shake_hands(connection: socket.socket, token: str | None = None) -> None:
    """Open a WebSocket at `/ws/notifications`."""
    bearer = [f"Authorization: Bearer {token}"] if token else []
    upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    connection.sendall(get("/ws/notifications", *upgrade, key, *bearer))


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A client's frame (RFC 6455, 5.2) of less than 126 bytes, masked with zeros."""
    return bytes([opcode | 0x80 * fin, 0x80 | len(payload)]) + bytes(4) + payload


def is_cut_off(connection: socket.socket, flood: Callable[[], bytes], *, at_most: int) -> bool:
    """Whether the server drops the connection while it is sent that again and again, up to so many bytes in all."""
    sent = 0
    try:
        while sent < at_most:
            sent += connection.send(flood())
    except ConnectionError:
        return True
    except TimeoutError:
        return False  # it reads no more, and holds on
    return False


def noise(size: int) -> str:
    """Letters that nothing compresses."""
    return os.urandom(size // 2).hex()
