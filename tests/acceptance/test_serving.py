"""The processes of the Procfile as an operator sees them: they start, end, are replaced, and log no secrets."""

import ctypes
import http.client
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.conftest import Deploy
from tests.deployment import Web
from tests.polling import PATIENCE, poll


def test_query_strings_never_reach_the_log(web: Web):
    with connect(f"{web.ws_url}/ws/notifications?token=hush"):
        pass
    httpx.get(f"{web.url}/readyz?token=hush")
    poll(lambda: "/ws/notifications" in web.log(), saying=web.log_tail)
    assert "hush" not in web.log()


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux's")
def test_an_accepted_connection_is_given_up_ten_seconds_after_a_reader_that_stalls(web: Web):
    pidfd_getfd = 438  # The same number on every architecture.
    with socket.create_connection(("127.0.0.1", web.port)) as here:
        mine = here.getsockname()
        here.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert here.recv(1)
        worker = web.worker_pids()[0]
        handle = os.pidfd_open(worker)
        limits = []
        for entry in Path(f"/proc/{worker}/fd").iterdir():
            if not str(entry.readlink()).startswith("socket:"):
                continue
            copy = ctypes.CDLL(None).syscall(pidfd_getfd, handle, int(entry.name), 0)
            with socket.socket(fileno=copy) as theirs:
                if theirs.family == socket.AF_INET and peer(theirs) == mine:
                    limits.append(theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
        os.close(handle)
    assert limits == [40_000]


def peer(connection: socket.socket) -> object:
    try:
        return connection.getpeername()
    except OSError:  # A listener has none.
        return None


def test_a_killed_worker_is_replaced(deploy: Deploy):
    web = deploy().web()
    killed = web.kill_worker()
    poll(lambda: killed not in web.worker_pids() and len(web.worker_pids()) == 1 and web.ready())
    assert httpx.get(f"{web.url}/readyz").status_code == 200


def test_hup_replaces_every_worker(deploy: Deploy):
    web = deploy().web()
    old = web.worker_pids()
    web.hup()
    poll(lambda: set(web.worker_pids()).isdisjoint(old) and web.worker_pids() and web.ready())
    assert httpx.get(f"{web.url}/readyz").status_code == 200


@pytest.mark.parametrize("end", [Web.hup, partial(Web.send, number=signal.SIGTERM)], ids=["hup", "term"])
def test_a_connection_that_is_kept_alive_is_told_before_it_ends(end: Callable[[Web], None], deploy: Deploy):
    """Otherwise its next request may be on its way while the process ends, and is reset without an answer."""
    web = deploy(DRAIN_SECONDS="20").web()
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=PATIENCE)
    connection.connect()
    connection.auto_open = 0  # one that is over is not replaced in silence
    assert "close" not in asked(connection)
    end(web)
    poll(lambda: "close" in asked(connection))


def asked(connection: http.client.HTTPConnection) -> str:
    """What an answer on that connection says of the connection itself."""
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200
    return answer.headers.get("Connection", "")


def test_a_terminated_web_process_ends_by_itself_and_in_order(deploy: Deploy):
    web = deploy().web()
    web.terminate()
    assert web.wait() == 0


def test_the_release_step_may_run_again_on_a_database_in_use(deploy: Deploy):
    deployment = deploy()
    web = deployment.web()
    assert "No migrations to apply" in deployment.release()
    assert httpx.get(f"{web.url}/readyz").status_code == 200


def test_the_worker_and_the_scheduler_start_and_end(deploy: Deploy, embedded: bool):
    if embedded:
        pytest.skip("the embedded default runs tasks in the web process")
    deployment = deploy()
    for process in (deployment.worker(), deployment.beat()):
        process.terminate()
        assert process.wait() in (0, -signal.SIGTERM)
