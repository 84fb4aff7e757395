"""`make run` as whoever tries Orderwire types it: it says what to do next, and that works."""

import asyncio
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.test_delivery import soon
from tests.deployment import machine_environment, manage
from tests.process import Process
from tests.sockets import frame, socket


class MakeRun(Process):
    """`make run`, in the environment that runs the tests and with a database of its own."""

    name = "make-run"

    def __init__(self, database: Path) -> None:
        super().__init__()
        self.settings = {**machine_environment(), "DEBUG": "1", "DATABASE_URL": f"sqlite:///{database}"}

    def command(self) -> list[str]:
        # The environment is there already; `make run` must not install it anew in the middle of a test.
        stamp = f"{sys.prefix}/.installed"
        return ["make", "--old-file", stamp, f"STAMP={stamp}", f"VENV={sys.prefix}", f"PORT={self.port}", "run"]

    def environment(self) -> dict[str, str]:
        return self.settings

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://localhost:{self.port}"

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:  # noqa: S310 -- our own URL
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def run(tmp_path: Path) -> Iterator[MakeRun]:
    with MakeRun(tmp_path / "run.sqlite3") as started:
        yield started


def shell(line: str) -> None:
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


async def test_make_run_prints_what_to_try_and_the_curl_line_reaches_a_customers_socket(run: MakeRun):
    printed = run.log()
    assert run.url in printed
    for word in ("alice", "bob", "staff", "demo"):
        assert word in printed
    curl = re.search(r"curl -X PATCH(?:.*\\\n)+.*", printed)
    assert curl, printed
    if shutil.which("curl") is None:
        pytest.skip("the line that is printed needs curl, which is not installed")
    async with socket(run, manage(run.settings, "create_token", "alice").strip()) as hers:
        await soon(frame(hers, "welcome"))
        await asyncio.to_thread(shell, f"{curl[0]} --fail --silent --show-error")
        told = await soon(frame(hers, "notification"))
    assert (told["order"]["number"], told["order"]["status"]) == ("SO-1001", "shipped")


async def test_make_run_may_be_started_again_on_the_same_data(run: MakeRun):
    run.stop()
    run.start()
    assert "Traceback" not in run.log()
    assert run.url in run.log()
