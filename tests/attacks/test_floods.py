"""Floods of a WebSocket by what is no message: pings, fragments, and whatever comes where nothing is expected."""

from __future__ import annotations

import itertools
import json

import httpx
import psutil
import pytest

from tests.attacks.raw import CONTINUATION, PING, TEXT, connected, frame, get, is_cut_off, rest, shake_hands
from tests.conftest import Deploy
from tests.deployment import Deployment, Web
from tests.sockets import close_code, socket
from tests.sockets import frame as next_frame

#: More than a budget of frames and bytes allows, and little enough to send in a moment.
FLOOD = 8 * 2**20
FLOODS = {
    "pings": [frame(PING, b"x" * 100) * 50],
    "empty fragments": [frame(TEXT, b"{", fin=False), frame(CONTINUATION, fin=False) * 1_000],
    "messages": [frame(TEXT, b"{}") * 500],
}


@pytest.fixture
def served(deploy: Deploy) -> tuple[Deployment, Web]:
    deployment = deploy()
    return deployment, deployment.web()


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("user", ["alice", None], ids=["logged in", "refused"])
def test_who_floods_a_socket_is_cut_off(served: tuple[Deployment, Web], kind: str, user: str | None):
    deployment, web = served
    first, *more = FLOODS[kind]
    parts = itertools.chain([first], itertools.repeat(more[0] if more else first))
    with connected(web) as [connection]:
        shake_hands(connection, deployment.token(user) if user else None)
        assert connection.recv(100).startswith(b"HTTP/1.1 101")
        assert is_cut_off(connection, lambda: next(parts), at_most=FLOOD)
    if user:
        assert web.log().count("floods its socket") == 1


def test_nothing_is_taken_before_the_handshake_is_answered(served: tuple[Deployment, Web]):
    """What a client sends at once, without waiting to be accepted, costs no more than it would afterwards."""
    deployment, web = served
    [worker] = web.worker_pids()
    before = psutil.Process(worker).memory_info().rss
    with connected(web, 8) as connections:
        for connection in connections:
            shake_hands(connection, deployment.token("alice"))
            assert is_cut_off(connection, lambda: frame(PING, b"x" * 100) * 50, at_most=FLOOD)
        assert httpx.get(f"{web.url}/healthz").status_code == 200
        assert psutil.Process(worker).memory_info().rss - before < 20 * 2**20


def test_a_handshake_that_the_library_refuses_does_not_stay(served: tuple[Deployment, Web]):
    """A line longer than websockets takes, in a head that is short enough for HTTP."""
    _, web = served
    upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Cookie: a={'x' * 9_000}"]
    with connected(web) as [connection]:
        connection.sendall(get("/ws/notifications", *upgrade, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
        assert rest(connection).startswith(b"HTTP/1.1 431 ")


async def test_a_client_that_talks_too_much_is_still_told_why(served: tuple[Deployment, Web]):
    """The budget of the protocol lies beyond the consumer's, which closes with a code."""
    deployment, web = served
    async with socket(web, deployment.token("alice")) as connection:
        await next_frame(connection, "welcome")
        for _ in range(60):
            await connection.send(json.dumps({"type": "pong"}))
        assert await close_code(connection) == 4501


async def test_pings_of_an_honest_client_are_answered(served: tuple[Deployment, Web]):
    deployment, web = served
    async with socket(web, deployment.token("alice")) as connection:
        for _ in range(20):
            await (await connection.ping())
