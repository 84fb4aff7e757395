"""Clients that send half a body, or go away in the middle of one, keep nobody else from being served."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from config.request_id import Identified
from config.server.bodies import Bodies
from tests.conftest import Deploy
from tests.deployment import Deployment, Web
from tests.polling import PATIENCE

GONE = "http.disconnect"


@contextmanager
def half_sent(deployment: Deployment, web: Web) -> Iterator[socket.socket]:
    """A change of an order of which a hundred bytes are announced and four are sent."""
    head = (
        "PATCH /api/v1/orders/SO-1001 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {deployment.token('staff')}\r\nContent-Length: 100\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", web.port)) as connection:
        connection.sendall(f"{head}{{   ".encode())
        yield connection


def test_half_a_body_takes_no_thread(deploy: Deploy):
    deployment = deploy(WEB_THREADS="1")
    web = deployment.web()
    with half_sent(deployment, web) as waiting:
        assert httpx.get(f"{web.url}/login").status_code == 200
        waiting.sendall(b'"carrier": "DHL"}'.ljust(96))
        assert waiting.recv(1_000).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("size", [2_000_001, 3_000_000])
def test_a_body_over_two_megabytes_is_a_problem_of_the_api(web: Web, deployment: Deployment, size: int):
    headers = {"Authorization": f"Bearer {deployment.token('staff')}", "Content-Type": "application/json"}
    answer = httpx.post(f"{web.url}/api/v1/orders", headers=headers, content=b" " * size)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_an_upload_beyond_what_django_takes_is_refused(web: Web):
    with httpx.Client(base_url=web.url, cookies={"orderwire_session": "any"}) as browser:
        answer = browser.post("/login", files={"file": b"x" * 3_000_000}, headers={"Referer": web.url})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_body_may_come_in_chunks(web: Web, deployment: Deployment):
    headers = {"Authorization": f"Bearer {deployment.token('staff')}", "Content-Type": "application/json"}
    answer = httpx.patch(f"{web.url}/api/v1/orders/SO-1002", headers=headers, content=iter([b'{"carrier":', b'"DHL"}']))
    assert (answer.status_code, answer.json()["carrier"]) == (200, "DHL")


def test_a_body_in_chunks_that_is_too_long_is_413_too(web: Web, deployment: Deployment):
    headers = {"Authorization": f"Bearer {deployment.token('staff')}", "Content-Type": "application/json"}
    answer = httpx.patch(f"{web.url}/api/v1/orders/SO-1002", headers=headers, content=iter([b" " * 65_536] * 46))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


# The middleware alone: what a test would have to wait for, or to fill the memory for.


def sent(*parts: bytes) -> Any:
    """A `receive` that gives those parts of a longer body, and then says that the client is gone."""
    left = iter([*({"type": "http.request", "body": part, "more_body": True} for part in parts), {"type": GONE}])

    async def receive() -> Any:
        return next(left)

    return receive


async def silent() -> Any:
    await asyncio.Future()


async def answer_of(bodies: Bodies, receive: Any) -> tuple[int, str] | None:
    """The status and the code of a problem, after which the connection is closed; None if there is no answer."""
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    await Identified(bodies)(
        {"type": "http", "path": "/", "headers": [(b"transfer-encoding", b"chunked")]}, receive, send
    )
    if not messages:
        return None
    start, body, end = messages
    assert (body["more_body"], end["body"]) == (True, b"")
    headers = dict(start["headers"])
    problem = json.loads(body["body"])
    assert headers[b"connection"] == b"close"
    assert int(headers[b"retry-after"]) >= 1
    assert problem["request_id"] == headers[b"x-request-id"].decode()
    return start["status"], problem["code"]


async def never(*_: Any) -> None:
    raise AssertionError("the request was passed on")


async def test_a_body_that_does_not_come_in_time_is_408():
    async with asyncio.timeout(PATIENCE):
        assert await answer_of(Bodies(never, seconds=0), silent) == (408, "body_too_slow")


async def test_who_goes_away_before_the_end_has_not_asked():
    assert await answer_of(Bodies(never), sent(b"half")) is None


async def test_bodies_for_which_no_memory_is_left_are_503_until_others_have_ended():
    bodies = Bodies(never, held_bytes=8)  # of which who is not known has half
    for _ in range(2):
        assert await answer_of(bodies, sent(b"half")) is None
        assert await answer_of(bodies, sent(b"half", b"more")) == (503, "busy")
