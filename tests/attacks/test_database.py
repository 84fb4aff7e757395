"""A PostgreSQL that accepts and never answers: stopped by a debugger, a full disk, a storage that hangs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import psutil
import psycopg
import pytest

from tests.deployment import Deployment, make_template
from tests.polling import apoll
from tests.servers import Postgres, create_database
from tests.sockets import close_code, frame, socket

BUSY = 4004


@contextmanager
def frozen(postgres: Postgres) -> Iterator[None]:
    """SIGSTOP to the server and its backends: the kernel goes on acknowledging what they are sent."""
    server = psutil.Process(postgres.pid)
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


@pytest.fixture
async def on_its_own_postgres() -> AsyncIterator[tuple[Deployment, Postgres]]:
    with Postgres() as postgres:
        template = create_database(postgres.url)
        await asyncio.to_thread(make_template, template)
        impatient = {"DATABASE_SECONDS": "1", "REQUEST_SECONDS": "4", "WEB_THREADS": "2"}
        with Deployment(template=template, server=postgres.url, **impatient) as deployment:
            deployment.env["DATABASE_URL"] += "?connect_timeout=2"
            yield deployment, postgres


async def test_a_frozen_postgres_holds_nobody_for_long(on_its_own_postgres: tuple[Deployment, Postgres]):
    """Requests are 503, newcomers 4004, sockets stay; and everything goes on when it answers again."""
    deployment, postgres = on_its_own_postgres
    web = deployment.web()
    alice, staff = deployment.token("alice"), {"Authorization": f"Bearer {deployment.token('staff')}"}
    async with (
        httpx.AsyncClient(base_url=web.url, headers=staff, timeout=30) as shop,
        socket(web, alice) as connection,
    ):
        await frame(connection, "welcome")
        assert (await shop.get("/api/v1/orders/SO-1001")).status_code == 200
        [worker] = web.worker_pids()
        with frozen(postgres):
            # More requests than threads, beside the probe's own.
            asked = [shop.patch("/api/v1/orders/SO-1001", json={"carrier": "DHL"}) for _ in range(3)]
            answers = await asyncio.gather(*asked)
            assert {answer.status_code for answer in answers} == {503}
            assert {answer.json()["code"] for answer in answers} <= {"database_unavailable", "busy"}
            assert (await shop.get("/readyz")).status_code == 503
            assert (await shop.get("/healthz")).status_code == 200
            async with socket(web, alice) as newcomer:
                assert await close_code(newcomer) == BUSY

        async def ready() -> bool:
            return (await shop.get("/readyz")).status_code == 200

        await apoll(ready, saying=web.log_tail)
        assert (await shop.patch("/api/v1/orders/SO-1001", json={"status": "shipped"})).status_code == 200
        assert (await frame(connection, "notification"))["seq"] >= 1
        async with socket(web, alice) as newcomer:
            assert (await frame(newcomer, "welcome"))["type"] == "welcome"
        assert web.worker_pids() == [worker]


async def test_a_lock_that_somebody_keeps_ends_in_an_answer(on_its_own_postgres: tuple[Deployment, Postgres]):
    """By a time-out of PostgreSQL's own; a command, as a migration, may wait for longer."""
    deployment, _ = on_its_own_postgres
    web = deployment.web()
    staff = {"Authorization": f"Bearer {deployment.token('staff')}"}
    with psycopg.connect(deployment.database_url) as lock:
        lock.execute("SELECT 1 FROM orders_order FOR UPDATE")
        async with httpx.AsyncClient(base_url=web.url, headers=staff, timeout=30) as shop:
            answer = await shop.patch("/api/v1/orders/SO-1001", json={"carrier": "DHL"})
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert "canceling statement due to lock timeout" in web.log()
    shown = deployment.manage("shell", "-v", "0", "-c", SHOW)
    assert shown.split() == ["0", "0"]


SHOW = """
from django.db import connection
for name in ("statement_timeout", "lock_timeout"):
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        print(cursor.fetchone()[0])
"""
