"""The servers that every other test leans on: they start, break and come back as those tests expect."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest
import redis as redis_client

from tests.polling import apoll, poll
from tests.process import ROOT, Process, alive, reserve_port
from tests.servers import Postgres, Redis, create_database, drop_database


def client(server: Redis) -> redis_client.Redis:
    return redis_client.Redis.from_url(server.url, socket_timeout=0.2, retry=None)


def test_a_killed_redis_comes_back_empty_at_the_same_address():
    with Redis() as server:
        with client(server) as before:
            before.set("hint", "lost")
        server.kill()
        with client(server) as during, pytest.raises(redis_client.ConnectionError):
            during.ping()
        server.start()
        with client(server) as after:
            assert after.get("hint") is None


def test_a_suspended_redis_accepts_and_never_answers_until_it_is_resumed():
    with Redis() as server:
        server.suspend()
        with client(server) as during, pytest.raises(redis_client.TimeoutError):
            during.ping()
        server.resume()
        with client(server) as after:
            assert poll(after.ping)


def test_a_suspended_redis_can_be_stopped():
    with Redis() as server:
        server.suspend()
        server.stop()
        assert not server.running


@pytest.mark.parametrize("end", ["kill", "restart"])
def test_a_postgres_that_was_ended_keeps_what_was_committed(end: str):
    with Postgres() as server:
        database = create_database(server.url)
        with psycopg.connect(database) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1")
        getattr(server, end)()
        if not server.running:
            server.start()
        with psycopg.connect(database) as connection:
            assert connection.execute("SELECT * FROM kept").fetchone() == (1,)


def test_a_database_is_a_copy_of_its_template_and_can_be_dropped_under_its_users():
    with Postgres() as server:
        template = create_database(server.url)
        with psycopg.connect(template) as connection:
            connection.execute("CREATE TABLE copied AS SELECT 1")
        copy = create_database(server.url, template=template)
        with contextlib.closing(psycopg.connect(copy)) as connection:
            assert connection.execute("SELECT * FROM copied").fetchone() == (1,)
            drop_database(server.url, copy)
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(copy)


def test_a_reserved_port_is_given_to_nobody_else():
    # More than the kernel's ephemeral ports could hide by chance: each is asked for while all others are held.
    holders = [reserve_port() for _ in range(500)]
    try:
        assert len({holder.getsockname()[1] for holder in holders}) == len(holders)
    finally:
        for holder in holders:
            holder.close()


class Broken(Process):
    name = "broken"

    def command(self) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('no configuration')"]

    def ready(self) -> bool:
        return False


def test_a_server_that_ends_before_it_is_ready_says_why():
    server = Broken()
    try:
        with pytest.raises(AssertionError, match="no configuration"):
            server.start()
    finally:
        server.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_servers_end_with_a_session_that_was_killed(tmp_path: Path):
    script = (
        "import signal; from tests.servers import Postgres, Redis\n"
        "with Postgres() as p, Redis() as r:\n"
        "    print(p.pid, r.pid, p.folder, r.folder, flush=True); signal.pause()\n"
    )
    session = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with session:
        assert session.stdout is not None
        postgres, redis, *folders = session.stdout.readline().split()
        session.send_signal(signal.SIGKILL)
    servers = [psutil.Process(int(pid)) for pid in (postgres, redis) if psutil.pid_exists(int(pid))]
    try:
        poll(lambda: not any(alive(server) for server in servers))
    finally:
        for server in servers:
            with contextlib.suppress(psutil.NoSuchProcess):
                server.kill()
        for folder in folders:
            shutil.rmtree(folder)


def test_a_poll_that_gives_up_says_what_did_not_come():
    with pytest.raises(AssertionError, match="the frame"):
        poll(lambda: False, within=0.05, saying="the frame")


async def test_an_async_poll_awaits_coroutines_and_lets_the_loop_run():
    started = time.monotonic()

    async def later() -> float:
        return max(0.0, time.monotonic() - started - 0.02)

    assert await apoll(later) > 0
    assert await apoll(os.getpid) == os.getpid()
