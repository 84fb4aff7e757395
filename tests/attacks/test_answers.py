"""Answers that nobody reads: clients that pipeline, reset, and do not read hold no thread and little memory."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from config.server import answers
from config.server.answers import Held
from config.server.clients import EXTENSION
from tests.attacks.raw import BUNDLE, connected, get, reset, rest, shake_hands
from tests.conftest import Deploy
from tests.deployment import Deployment, make_template
from tests.polling import poll


def test_clients_that_pipeline_and_do_not_read_stop_nobody(deploy: Deploy):
    web = deploy(WEB_THREADS="2").web()
    with connected(web, 4) as readers, connected(web, 4) as resetting:
        for connection in (*readers, *resetting):
            connection.sendall(get(BUNDLE) * 4)
        for connection in resetting:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            reset(connection)
        for path in ("/login", "/readyz"):
            assert httpx.get(web.url + path).status_code == 200


def test_a_client_that_does_not_read_its_answer_is_let_go_of(deploy: Deploy):
    web = deploy(SEND_SECONDS="0.5").web()
    with connected(web) as [connection]:
        connection.sendall(get(BUNDLE) * 8)  # the kernel takes 4 MB or so by itself
        poll(lambda: "does not read its answer" in web.log(), saying=web.log_tail)
        assert len(rest(connection)) < 8_000_000


def test_a_stream_behind_which_more_is_pipelined_ends_when_its_client_goes(deploy: Deploy):
    """uvicorn tells only the last of several requests that the connection is gone."""
    deployment = deploy(METRICS_TOKEN="hush", MAX_SOCKETS="1")
    web = deployment.web()
    bearer = f"Authorization: Bearer {deployment.token('alice')}"
    with connected(web) as [connection]:
        connection.sendall(get("/api/v1/stream", bearer) + get("/login"))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")

    def another_may_follow() -> bool:
        with httpx.stream("GET", f"{web.url}/api/v1/stream", headers=dict([bearer.split(": ")])) as answer:
            return "welcome" in next((line for line in answer.iter_lines() if line.startswith("data:")), "")

    poll(another_may_follow, within=30)
    assert "ended in an error" not in web.log()  # it was told, and did not find out with the next ping


def test_a_websocket_behind_a_request_that_is_not_answered_yet_is_refused(deploy: Deploy):
    deployment = deploy()
    web = deployment.web()
    with connected(web) as [connection]:
        connection.sendall(get("/api/v1/stream", f"Authorization: Bearer {deployment.token('alice')}"))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        shake_hands(connection)
        assert b"101 Switching Protocols" not in rest(connection)


def test_more_than_a_few_pipelined_requests_are_not_collected(deploy: Deploy):
    web = deploy().web()
    with connected(web) as [connection]:
        connection.sendall(get(BUNDLE) * 50)
        assert len(rest(connection)) < 10_000_000


# Threads that hang. In SQLite's way, since a connection to PostgreSQL can be cut: see test_database.


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('attacks') / 'orderwire.sqlite3'}"
    make_template(url)
    return url


@pytest.fixture
def on_sqlite(sqlite_template: str) -> Iterator[Deployment]:
    with Deployment(template=sqlite_template, server=None, WEB_THREADS="1", REQUEST_SECONDS="1") as deployment:
        yield deployment


def test_a_process_whose_threads_all_hang_says_where_and_is_replaced(on_sqlite: Deployment):
    web = on_sqlite.web()
    [before] = web.worker_pids()
    headers = {"Authorization": f"Bearer {on_sqlite.token('staff')}"}
    with closing(sqlite3.connect(urlsplit(on_sqlite.database_url).path, isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        with (
            httpx.Client(base_url=web.url, headers=headers, timeout=0.5) as client,
            pytest.raises(httpx.TimeoutException),
        ):
            client.patch("/api/v1/orders/SO-1001", json={"carrier": "DHL"})
        poll(lambda: web.worker_pids() not in ([before], []), saying=web.log_tail)
    poll(lambda: httpx.get(f"{web.url}/readyz").status_code == 200)
    log = web.log()
    assert log.count("PATCH '/api/v1/orders/SO-1001' has run for more than 1 s. It is at:") == 1
    assert "Every thread hangs" in log
    assert re.search(r"It is at:\n  File .*/api/views.py", log, re.DOTALL)


# The memory for answers alone: what would take many megabytes to fill.


class Client:
    """A connection that is asked to go."""

    def __init__(self) -> None:
        self.is_cut_off = False

    def gone(self) -> bool:
        return self.is_cut_off

    def cut_off(self) -> None:
        self.is_cut_off = True


def request(client: Client, address: str) -> dict[str, Any]:
    return {"client": (address, 1), "extensions": {EXTENSION: client}}


def test_who_holds_most_of_the_memory_for_answers_loses_the_oldest():
    held = Held(100)
    modest, *greedy = [Client() for _ in range(4)]
    held.hold(request(modest, "192.0.2.1"), 30)
    for client in greedy:
        held.hold(request(client, "192.0.2.2"), 35)
    assert [client.is_cut_off for client in (modest, *greedy)] == [False, True, False, False]


def test_memory_for_answers_is_given_back():
    held = Held(100)
    for _ in range(3):
        scope = request(client := Client(), "192.0.2.1")
        held.hold(scope, 60)
        held.let_go(scope)
        assert not client.is_cut_off


async def test_a_long_answer_has_a_time_for_all_of_it_also_when_its_reader_trickles(
    monkeypatch: pytest.MonkeyPatch, settings: Any
):
    """Each step forward gives SEND_SECONDS more, but not beyond what the slowest line needs."""
    settings.SEND_SECONDS = 0.2
    monkeypatch.setattr(answers, "MIN_BYTES_PER_SECOND", 2**30)
    client = Client()

    async def trickle(_: Any) -> None:
        await asyncio.sleep(0.05)  # not a wait of the test's: how slowly this client reads, five seconds in all

    await answers.give(request(client, "192.0.2.1"), trickle, 200, [], b"x" * answers.CHUNK * 100)
    assert client.is_cut_off
