"""Connections that come to nothing, and heads without end."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack

import httpx
import pytest

from tests.attacks.raw import connected, get, is_cut_off, noise, rest, shake_hands, status
from tests.conftest import Deploy
from tests.deployment import Deployment, Web

#: A proxy that is none of the clients here: otherwise the loopback is trusted to speak for many.
ELSEWHERE = {"FORWARDED_ALLOW_IPS": "192.0.2.1"}


class Limited(Web):
    """A web process that may open 150 files."""

    def command(self) -> list[str]:
        shell, flag, line = super().command()
        return [shell, flag, f"ulimit -n 150; {line}"]


def field() -> bytes:
    return f"X-{noise(20)}: {noise(200)}\r\n".encode()


@pytest.fixture
def impatient(deploy: Deploy) -> Web:
    return deploy(HEAD_SECONDS="0.5").web()


@pytest.mark.parametrize("half", [b"GET /lo", b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n", b"\r\n"])
def test_half_a_head_does_not_stay(impatient: Web, half: bytes):
    with connected(impatient) as [connection]:
        connection.sendall(half)
        answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 408 ") or (half == b"\r\n" and answer == b"")


def test_a_connection_that_asks_nothing_ends_without_a_word(impatient: Web):
    with connected(impatient) as [connection]:
        assert rest(connection) == b""


def test_half_a_head_behind_an_answered_request_does_not_stay(impatient: Web):
    with connected(impatient) as [connection]:
        connection.sendall(get("/healthz") + b"GET /he")
        answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answer


@pytest.mark.parametrize(
    "endless",
    [
        lambda: noise(50_000).encode(),
        field,
    ],
    ids=["one field", "many fields"],
)
def test_a_head_without_end_is_431(deploy: Deploy, endless: Callable[[], bytes]):
    web = deploy().web()
    with connected(web) as [connection]:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        sent = 0
        while sent < 200_000:
            sent += connection.send(endless())
        assert status(connection) == 431


def test_more_fields_than_any_browser_sends_are_431(deploy: Deploy):
    web = deploy().web()
    with connected(web) as [connection]:
        connection.sendall(get("/healthz", *[f"X-{number}: 1" for number in range(200)]))
        assert status(connection) == 431


def test_trailers_without_end_are_not_collected(deploy: Deploy):
    deployment = deploy()
    web = deployment.web()
    head = get("/api/v1/tickets", f"Authorization: Bearer {deployment.token('alice')}", "Transfer-Encoding: chunked")
    with connected(web) as [connection]:
        connection.sendall(head.replace(b"GET", b"POST") + b"1\r\n{\r\n0\r\n")
        assert is_cut_off(connection, field, at_most=8 * 2**20)


def test_an_address_has_its_connections_and_no_more(deploy: Deploy):
    web = deploy(MAX_CONNECTIONS_PER_ADDRESS="5", **ELSEWHERE).web()
    with connected(web, 5, address="127.0.0.2"), connected(web, 3, address="127.0.0.2") as more:
        asking, probing, opening = more
        asking.sendall(get("/login"))
        assert status(asking) == 503
        probing.sendall(get("/readyz"))
        assert status(probing) == 200
        shake_hands(opening)
        assert status(opening) == 503
        assert httpx.get(f"{web.url}/login").status_code == 200
    assert web.log().count("An address has all its 5 connections") == 1


def test_connections_that_have_ended_leave_their_places(deploy: Deploy):
    web = deploy(MAX_CONNECTIONS_PER_ADDRESS="2", **ELSEWHERE).web()
    for _ in range(3):
        with connected(web, 2) as [first, second]:
            first.sendall(get("/login"))
            assert status(first) == 200
            shake_hands(second)
            assert status(second) == 101


def test_the_connections_of_a_trusted_proxy_are_those_of_many(deploy: Deploy):
    web = deploy(MAX_CONNECTIONS_PER_ADDRESS="5").web()
    with connected(web, 20):
        assert httpx.get(f"{web.url}/login").status_code == 200


def test_probes_are_answered_when_every_descriptor_is_taken(deploy: Deploy):
    deployment: Deployment = deploy()
    with ExitStack() as stack:
        web = stack.enter_context(Limited(deployment.env))
        assert re.search(r"Open files are limited to 150 .* \d+ sockets", web.log())
        for number in range(1, 17):
            for connection in stack.enter_context(connected(web, 10, address=f"127.0.1.{number}")):
                connection.sendall(b"GET / HT")
        for probe in ("/healthz", "/readyz"):
            assert httpx.get(web.url + probe).status_code == 200
        assert httpx.get(f"{web.url}/login").status_code == 503
        assert re.search(r"All \d+ connections are taken", web.log())
