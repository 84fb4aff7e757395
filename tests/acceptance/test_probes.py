"""What an orchestrator asks: by address, without a name it knows, and before it sends anybody here."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from channels.layers import InMemoryChannelLayer
from django.db import InterfaceError, OperationalError, connection, connections

from config.health import Probes
from config.server.web_threads import WebThreads
from notifications.delivery.hub import Hub
from notifications.supervision import Supervisor
from tests.deployment import Deployment, Web
from tests.polling import apoll, poll


@pytest.mark.parametrize("probe", ["/healthz", "/readyz"])
def test_probes_are_answered_whatever_the_host_header_says(web: Web, probe: str) -> None:
    assert httpx.get(web.url + probe, headers={"Host": "10.0.0.7:8000"}).status_code == 200
    assert httpx.get(web.url + "/login", headers={"Host": "10.0.0.7:8000"}).status_code == 400


def test_probes_are_not_redirected_to_https(deploy: type) -> None:
    deployment: Deployment = deploy(HTTPS_ONLY="1")
    web = deployment.web()
    assert httpx.get(web.url + "/readyz").status_code == 200
    assert httpx.get(web.url + "/login").status_code == 301


def test_readiness_fails_while_sockets_are_told_good_bye(deploy: type) -> None:
    deployment: Deployment = deploy(DRAIN_SECONDS="20")
    web = deployment.web()
    # The one client's good-bye comes at the end of the drain.
    with httpx.stream(
        "GET", f"{web.url}/api/v1/stream", headers={"Authorization": f"Bearer {deployment.token('alice')}"}
    ) as answer:
        assert answer.status_code == 200
        web.terminate()
        poll(lambda: httpx.get(web.url + "/readyz").status_code == 503)


def test_a_process_whose_threads_all_wait_for_a_lock_is_healthy_and_not_ready(deploy: type) -> None:
    """The threads are not lost, so nothing is to be restarted; a request would wait, so others may take it."""
    deployment: Deployment = deploy(WEB_THREADS="1")
    web = deployment.web()
    change = (
        "PATCH /api/v1/orders/SO-1001 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {deployment.token('staff')}\r\nContent-Length: 17\r\n\r\n"
        '{"carrier":"DHL"}'
    )
    with locked_orders(deployment.database_url), socket.create_connection(("127.0.0.1", web.port)) as waiting:
        waiting.sendall(change.encode())
        poll(lambda: httpx.get(web.url + "/readyz").status_code == 503)
        assert httpx.get(web.url + "/healthz").status_code == 200
    poll(lambda: httpx.get(web.url + "/readyz").status_code == 200)


# Inside one process.


@asynccontextmanager
async def probes(**state: Any) -> AsyncIterator[tuple[WebThreads, httpx.AsyncClient]]:
    """The probes of a server with that state, and a client that asks them."""
    threads = WebThreads(1)
    answering = Probes(None, threads)
    known = {"hub": Hub(InMemoryChannelLayer()), "supervisors": []} | state

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await answering({**scope, "state": known}, receive, send)

    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        yield threads, client
    await threads.run("The end", connections.close_all)


async def test_readiness_fails_while_a_loop_does_not_run(transactional_db: None) -> None:
    supervisor, mended = Supervisor("hub"), asyncio.Event()

    async def listen() -> None:
        if not mended.is_set():
            raise ZeroDivisionError
        await asyncio.Event().wait()

    async with probes(supervisors=[supervisor]) as (_, client):
        assert (await client.get("/readyz")).status_code == 200
        supervisor.start(listen=listen)
        await apoll(lambda: supervisor.down)
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["not_running"]) == (503, "hub.listen")
        assert (await client.get("/healthz")).status_code == 200
        mended.set()

        async def is_ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await apoll(is_ready)
        await supervisor.stop()


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("connection already closed")])
async def test_readiness_fails_while_the_database_is_away(transactional_db: None, error: Exception) -> None:
    def fail(*_: Any) -> Any:
        raise error

    async with probes() as (threads, client):
        await threads.run("A fault", lambda: connection.execute_wrappers.append(fail))
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")


@contextmanager
def locked_orders(database_url: str) -> Iterator[None]:
    """Nobody changes an order until the end of the block."""
    if database_url.startswith("sqlite:"):
        with closing(sqlite3.connect(urlsplit(database_url).path, isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            yield
    else:
        with closing(psycopg.connect(database_url)) as lock:
            lock.execute("SELECT 1 FROM orders_order FOR UPDATE")
            yield
