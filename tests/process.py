"""Real processes for tests: started on a free port of the loopback, watched through their log, and never left behind.

`Process` is the base of what tests.servers and tests.deployment start. It refuses to guess: a process that ends before
it is ready, or does not end when told to, raises with the last lines of its log.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psutil

from tests.polling import poll

ROOT = Path(__file__).resolve().parent.parent

# Linux ties "when the parent dies" to the thread that forked. Every process is therefore started by this one thread,
# which lives as long as the session; a test may start and stop servers from any thread it likes.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")


def reserve_port() -> socket.socket:
    """A socket bound to a free port that the kernel chose, and kept, so that nobody else is given that port.

    It never listens. A server that sets SO_REUSEADDR, as all of ours do, may bind the same port beside it, again after
    each restart; other processes that ask for a free port are given another. Linux allows that; elsewhere the port is
    only likely to stay free.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def reachable(path: Path) -> bool:
    """Whether any user of the machine may enter the folders above `path` and read it."""
    return bool(path.stat().st_mode & 0o004) and all(p.stat().st_mode & 0o001 for p in path.resolve().parents)


def public_folder(prefix: str) -> Path:
    """A new temporary folder that another user can be let into, whatever TMPDIR says."""
    parent = Path(tempfile.gettempdir())
    usable = parent if reachable(parent) else Path("/tmp")  # noqa: S108 -- mkdtemp below makes an unguessable name
    return Path(tempfile.mkdtemp(prefix=prefix, dir=usable))


def alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that has ended and waits for its parent to notice does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Process:
    """One process with a port, a folder and a log of its own; a context manager that starts and stops it."""

    name: ClassVar[str]
    # What ends it in order, and what it gets when the test session itself is killed.
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    orphan_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self) -> None:
        self._holder = reserve_port()
        self.port: int = self._holder.getsockname()[1]
        if sys.platform != "linux":
            self._holder.close()
        self.folder = public_folder(f"orderwire-{self.name}-")
        self.log_path = self.folder / "log"
        self._log_start = 0
        self._popen: subprocess.Popen[bytes] | None = None

    # What a kind of process says about itself.

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return os.environ

    def user(self) -> str | None:
        return None

    def ready(self) -> bool:
        raise NotImplementedError

    # Life and death.

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.name} was not started"
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def launch(self, command: Sequence[str]) -> list[str]:
        """The command line that becomes `command`, as this process's user, and dies with the session."""
        mine = [sys.executable, "-IS", str(Path(__file__).with_name("launch.py"))]
        return [*mine, str(os.getpid()), str(int(self.orphan_signal)), self.user() or "-", *command]

    def start(self) -> Self:
        """Start it, and return when it is ready to serve."""
        assert not self.running, f"{self.name} is running already"
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._popen = _starter.submit(
                subprocess.Popen,
                self.launch(self.command()),
                env=dict(self.environment()),
                cwd=self.folder if self.user() else ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C goes to pytest, which then stops it in order.
            ).result()
        poll(self._ready_or_dead, saying=lambda: f"{self.name} was not ready\n{self.log_tail()}")
        return self

    def _ready_or_dead(self) -> bool:
        if not self.running:
            raise AssertionError(f"{self.name} ended before it was ready\n{self.log_tail()}")
        return self.ready()

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, within: float = 30.0) -> int:
        """The exit status, once it has ended."""
        assert self._popen is not None
        try:
            return self._popen.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {within:g} s\n{self.log_tail()}") from None

    def terminate(self) -> None:
        """Tell it to end, and return at once."""
        self.send(self.stop_signal)

    def stop(self) -> None:
        """Tell it to end, and return when it has; nothing if it has already."""
        if not self.running:
            return
        try:
            self.terminate()
            self.send(signal.SIGCONT)  # One that a test has suspended could not hear it.
            self.wait()
        finally:
            self._kill_all()

    def kill(self) -> None:
        """SIGKILL to it and to whatever it started, and return when they are gone."""
        self._kill_all()

    def _kill_all(self) -> None:
        family: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            main = psutil.Process(self.pid)
            family = [main, *main.children(recursive=True)]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self._popen is not None:
            self._popen.wait()
        # Children with sessions of their own, as PostgreSQL's have, notice by themselves that their parent is gone.
        poll(
            lambda: not any(alive(member) for member in family),
            saying=f"processes that {self.name} started live on",
        )

    def close(self) -> None:
        """Stop it and remove its folder; it cannot be started again."""
        try:
            self.stop()
        finally:
            self._holder.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What it said.

    def log(self) -> str:
        """Everything since it was last started."""
        return self.log_path.read_bytes()[self._log_start :].decode(errors="replace")

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log().splitlines()[-lines:])
