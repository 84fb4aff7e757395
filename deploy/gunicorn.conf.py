"""How the web processes are served: read by gunicorn from the Procfile, from `make run` and from the tests.

Owns what belongs to processes and sockets. What belongs to uvicorn (ping interval, frame size, the drain) is the worker
class's, in config/server/worker.py; what belongs to Django is in config/settings.py.
"""

import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from config.environment import port, positive, read, seconds
from config.server.worker import reloading

worker_class = "config.server.worker.Worker"

# Every address: inside a container or behind a platform's router that is the only one that is reached. `make run`,
# which serves demo passwords, binds the loopback instead (--bind wins over this file).
bind = f"0.0.0.0:{read(port, 'PORT', 8000)}"

# One process uses one core; start one for each. More than one needs PostgreSQL, with or without Redis: over SQLite,
# what one process publishes reaches the others' sockets only at their next tail check.
workers = read(positive, "WEB_CONCURRENCY", 1)

# Connections that may wait while a worker is busy: a whole shop's browsers come back at once after a deploy. The
# kernel cuts it to net.core.somaxconn, 4096 on Linux since 5.4.
backlog = 4096

# The drain says good-bye to every socket within DRAIN_SECONDS; after it, requests and answers in flight get the ten
# seconds that the worker class gives them, and five more are for a busy machine. Then gunicorn kills.
graceful_timeout = int(read(seconds, "DRAIN_SECONDS", 10)) + 15

# A worker whose event loop has not turned for this long is stuck, and is replaced.
timeout = 30

# Longer than the 60 s for which common balancers keep an idle connection, so that the balancer closes it and never
# sends a request into a connection that is closing on this side.
keepalive = 75

# Whose X-Forwarded-For and X-Forwarded-Proto are believed: a proxy on this machine. A client that could set them
# could choose its address for rate limits and claim https, so name your proxy here and never write "*" unless nothing
# but the proxy can reach this port.
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")

# Each worker proves that it lives by touching a file; on a disk that hesitates, it would look dead.
if os.access("/dev/shm", os.W_OK):  # noqa: S108 -- gunicorn makes an unnamed file there # nosec B108
    worker_tmp_dir = "/dev/shm"  # noqa: S108 # nosec B108

# gunicorn 25.1 and newer open a control socket in the home directory: two deployments of one user would collide there,
# and a read-only file system refuses it.
control_socket_disable = True

# No max_requests: it counts HTTP requests only, and a recycled worker closes thousands of healthy sockets.
# No preload_app: connections that were opened before the fork would be shared by the workers.

proc_name = "orderwire"
accesslog = "-"
loglevel = os.environ.get("LOG_LEVEL", "info").lower()


class WithoutQuery(logging.Filter):
    """Cuts query strings out of uvicorn's lines, WebSocket handshakes included.

    Tokens have no business in a URL, but a client that puts one there all the same shall not find it in a log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record, with each argument that is a path cut at its question mark."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                word.partition("?")[0] if isinstance(word, str) and word.startswith("/") else word
                for word in record.args
            )
        return True


class logger_class(Logger):  # noqa: N801 -- the name by which gunicorn looks for it
    """gunicorn's logger, whose handlers the worker class lends to uvicorn."""

    def setup(self, cfg: object) -> None:
        """Called once in the master and inherited by the workers, and again when the log files are reopened."""
        super().setup(cfg)
        # uvicorn takes its level from here, and at DEBUG writes the headers and frames of sockets: cookies, tokens and
        # tickets. LOG_LEVEL=debug is for this project's own code (config/settings.py).
        self.error_log.setLevel(max(self.error_log.level, logging.INFO))
        for log in (self.access_log, self.error_log):
            for handler in log.handlers:
                handler.addFilter(WithoutQuery())


# What may stay unacknowledged on one connection before the kernel drops it, in milliseconds. Without it a client that
# stops reading, or a phone that leaves without a word, is held until the kernel's own limit of some fifteen minutes:
# uvicorn's ping time-out waits for the write buffer to empty. Ten seconds more than the bound after which a reader
# without progress is closed with 4001, so that one that wakes up meanwhile still reads that code.
TCP_USER_TIMEOUT_MS = int((read(seconds, "STALL_SECONDS", 30) + 10) * 1000)

# What the folder is called in which the workers share what they have counted, for /metrics.
COUNTED = "orderwire-metrics-"


def on_starting(_server: Arbiter) -> None:
    """Check the settings before the first worker, which gunicorn would replace for ever if it could not start.

    In a process of its own: what gunicorn itself has imported, a reload with new code would not import again.
    """
    checked = subprocess.run([sys.executable, "-c", "import config.settings"], cwd=chdir, check=False)
    if checked.returncode:
        sys.exit(checked.returncode)
    # The workers find it when they import the library; an operator may name a folder of their own.
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=COUNTED)


def when_ready(server: Arbiter) -> None:
    """Set on the listeners, before the workers are forked: accepted sockets inherit it. Linux only."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    for listener in server.LISTENERS:
        if option is not None and listener.sock.family in (socket.AF_INET, socket.AF_INET6):
            listener.sock.setsockopt(socket.IPPROTO_TCP, option, TCP_USER_TIMEOUT_MS)


def child_exit(_server: Arbiter, worker: Worker) -> None:
    """What a worker has counted stays; the sockets that it had are gone."""
    for gauge in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob(f"gauge_live*_{worker.pid}.db"):
        gauge.unlink(missing_ok=True)


def on_exit(_server: Arbiter) -> None:
    """In the master, at the end of all."""
    counted = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""))
    if counted.name.startswith(COUNTED):
        shutil.rmtree(counted, ignore_errors=True)


# Paths in this file are relative to the project, from wherever gunicorn is started.
chdir = str(Path(__file__).resolve().parent.parent)


def on_reload(_server: Arbiter) -> None:
    """On SIGHUP: the old workers stop accepting at once, since new ones listen on the same port."""
    reloading()
