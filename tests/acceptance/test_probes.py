"""What an orchestrator asks: by address, without a name it knows, and before it sends anybody here."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.deployment import Deployment, Web
from tests.polling import poll


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


@pytest.mark.parametrize("probe", ["/healthz", "/readyz"])
def test_probes_are_answered_while_every_thread_waits_for_a_lock(deploy: type, probe: str) -> None:
    deployment: Deployment = deploy(WEB_THREADS="1")
    web = deployment.web()
    change = (
        "PATCH /api/v1/orders/SO-1001 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {deployment.token('staff')}\r\nContent-Length: 17\r\n\r\n"
        '{"carrier":"DHL"}'
    )
    with locked_orders(deployment.database_url), socket.create_connection(("127.0.0.1", web.port)) as waiting:
        waiting.sendall(change.encode())
        assert httpx.get(web.url + probe).status_code == 200


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
