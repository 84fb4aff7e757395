"""An Orderwire as a shop runs it: web and worker processes from the Procfile, over a database and a Redis of its own.

Acceptance, browser and fault tests start one and speak to it over HTTP, WebSocket and `manage.py`, never by import.
The embedded default is the same with neither server: SQLite, and one web process with everything in it.
"""

import fcntl
import functools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import psutil

from tests.process import ROOT, Process
from tests.servers import Redis, create_database, drop_database

# What a process may know of the machine it runs on. Settings of the session never leak into a deployment.
_INHERITED = ("HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


@functools.cache
def procfile() -> dict[str, str]:
    """The Procfile's command lines by process type."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: line.strip() for name, line in (row.split(":", 1) for row in lines if row.strip())}


def machine_environment() -> dict[str, str]:
    """The environment's own programs before the machine's, and little else."""
    known = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**known, "PATH": path, "PYTHONUNBUFFERED": "1"}


class FromProcfile(Process):
    """A process whose command is a line of the Procfile, with words of the test's appended."""

    line: str

    def __init__(self, env: Mapping[str, str], *words: str) -> None:
        super().__init__()
        self.env = dict(env)
        self.words = words

    def command(self) -> list[str]:
        return ["sh", "-c", " ".join(["exec", procfile()[self.line], *self.words])]

    def environment(self) -> dict[str, str]:
        return self.env


class Web(FromProcfile):
    """gunicorn and its workers."""

    name = line = "web"

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        return {
            "ALLOWED_ORIGINS": self.url,
            **self.env,
            "PORT": str(self.port),
            # The Procfile binds every address; a test binds the loopback only.
            "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{self.port}",
        }

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:  # noqa: S310 -- our own URL
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"/healthz answers {error.code}\n{self.log_tail()}") from error
        except OSError:
            return False

    def worker_pids(self) -> list[int]:
        """The pids of gunicorn's workers, oldest first."""
        return sorted(child.pid for child in psutil.Process(self.pid).children())

    def kill_worker(self, pid: int | None = None) -> int:
        """SIGKILL to one worker, the oldest unless told; its pid. gunicorn starts another."""
        victim = pid or self.worker_pids()[0]
        os.kill(victim, signal.SIGKILL)
        return victim

    def hup(self) -> None:
        """SIGHUP: gunicorn starts new workers and then tells the old ones to end."""
        self.send(signal.SIGHUP)


class Worker(FromProcfile):
    """A Celery worker."""

    name = line = "worker"

    def ready(self) -> bool:
        return " ready." in self.log()


class Beat(FromProcfile):
    """The Celery scheduler."""

    name = line = "beat"

    def environment(self) -> dict[str, str]:
        return {**self.env, "TMPDIR": str(self.folder)}

    def ready(self) -> bool:
        return "beat: Starting" in self.log()


class Deployment:
    """A database that is migrated and holds the demo data, a Redis, and whatever processes a test starts on them.

    `template` is the URL of such a database, on the PostgreSQL server whose URL is `server`, or a file of SQLite with
    no server: the embedded default, where there is no Redis either. Keyword arguments are settings, added to or put in
    place of the defaults; None takes one away.
    """

    def __init__(self, *, template: str, server: str | None, **settings: str | None) -> None:
        self._server = server
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="orderwire-deployment-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.redis: Redis | None = None
        if server is None:
            file = self.folder / "orderwire.sqlite3"
            shutil.copyfile(urlsplit(template).path, file)
            self.database_url = f"sqlite:///{file}"
        else:
            self.database_url = create_database(server, template=template)
            self._stack.callback(drop_database, server, self.database_url)
            self.redis = self._stack.enter_context(Redis())
        self.env = {name: value for name, value in (self._defaults() | settings).items() if value is not None}
        self._tokens = dict(_tokens_of.get(template, {}))

    def _defaults(self) -> dict[str, str | None]:
        return {
            **machine_environment(),
            "DEBUG": "0" if self._server else "1",
            "HTTPS_ONLY": "0",  # What a proxy in front would see to; the rest is as in production.
            "SECRET_KEY": secrets.token_urlsafe(50),
            "ALLOWED_HOSTS": "127.0.0.1,localhost",
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis.url if self.redis else None,
            # Long enough to be seen, short enough not to be waited for.
            "DRAIN_SECONDS": "1",
        }

    def manage(self, *words: str, **settings: str) -> str:
        """What `manage.py WORDS` printed; AssertionError with its error output if it failed."""
        return manage({**self.env, **settings}, *words)

    def web(self, **settings: str) -> Web:
        """A web process that serves; ended with the deployment if not before."""
        return self._stack.enter_context(Web({**self.env, **settings}))

    def worker(self, **settings: str) -> Worker:
        """A Celery worker that is ready. One process in it: a fault test kills what it knows."""
        return self._stack.enter_context(Worker({**self.env, **settings}, "--concurrency", "1"))

    def beat(self, **settings: str) -> Beat:
        """A scheduler that has started."""
        return self._stack.enter_context(Beat({**self.env, **settings}))

    def release(self) -> str:
        """What the Procfile's release step printed; AssertionError with its error output if it failed."""
        with collecting():
            return run(self.env, ["sh", "-c", f"exec {procfile()['release']}"])

    def token(self, user: str) -> str:
        """An API token of that user: the template's, or one that is made once."""
        if user not in self._tokens:
            self._tokens[user] = self.manage("create_token", user).strip()
        return self._tokens[user]

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def collecting() -> Iterator[None]:
    """Held while static files are collected: two processes at once would trip over each other's in the one folder."""
    descriptor = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def manage(env: Mapping[str, str], *words: str) -> str:
    """What `manage.py WORDS` printed, run with exactly that environment."""
    return run(env, [sys.executable, "manage.py", *words])


def run(env: Mapping[str, str], command: Sequence[str]) -> str:
    """What a command of the project printed, run in its folder; AssertionError with its error output if it failed."""
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} failed\n{done.stdout}{done.stderr}"
    return done.stdout


#: Run by `manage.py shell`: each command by itself would begin with the second that Django takes to start.
MAKE = """
import json
from datetime import timedelta
from django.contrib.auth import get_user_model
from django.core.management import call_command
from knox.models import AuthToken
call_command("migrate", verbosity=0)
call_command("demo")
users = get_user_model().objects.filter(username__in=["alice", "bob", "staff"])
tokens = {user.username: AuthToken.objects.create(user, expiry=timedelta(days=1))[1] for user in users}
print("tokens:" + json.dumps(tokens))
"""

#: The API tokens of those who are in a template, by its URL: every copy of it has them.
_tokens_of: dict[str, dict[str, str]] = {}


def make_template(database_url: str) -> None:
    """Migrate that database and load the demo data (alice, bob, staff, some orders), and collect the static files.

    Each of the three gets an API token, which `Deployment.token` knows.
    """
    env = {**machine_environment(), "DEBUG": "1", "DATABASE_URL": database_url}
    made = manage(env, "shell", "--no-imports", "-c", MAKE)
    _tokens_of[database_url] = json.loads(made.partition("tokens:")[2])
    _collect_static()


@functools.cache
def _collect_static() -> None:
    """Once for each session: nothing of it changes."""
    env = {**machine_environment(), "SECRET_KEY": "unused" * 10, "ALLOWED_HOSTS": "unused"}
    with collecting():
        manage({**env, "DATABASE_URL": "sqlite:///unused"}, "collectstatic", "--noinput")
