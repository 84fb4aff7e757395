"""How many connections a process lets in: for each address, and in all, below the limit of open files.

Beyond the limits a connection is a *surplus* one: it may ask the probes, gets 503 for everything else, and has two
seconds for it. There are a few places for these, and the newest takes the oldest's: a probe asks at once, and so gets
its answer also while somebody holds every connection that there is. A proxy that is trusted speaks for many, so that
its connections count in all only.

`http_protocol` and `socket_protocol` say which connections come and go; the worker class sets the settings.
"""

from __future__ import annotations

import logging
import resource
import sys
from collections import Counter
from collections.abc import Container
from typing import Any

from django.conf import settings

from config.server.clients import Connection, Seldom, address_of

logger = logging.getLogger(__name__)

#: What a surplus connection may ask.
PROBES = frozenset({"/healthz", "/readyz"})
#: Connections beside those of sockets: requests are short.
HTTP_CONNECTIONS = 1_000
#: Connections beyond the limit at one time: far more than there are probes.
SURPLUS = 32
#: Open files that are no clients' connections: listeners, logs, Redis' pool, files of the metrics, static files. A
#: process that serves nobody has some 40, and each thread has a database connection.
OTHER_FILES = 64

_too_many = Seldom(logger, "All %s connections are taken: newcomers get 503, probes an answer.")
_too_many_of_one = Seldom(logger, "An address has all its %s connections: further ones from %s get 503.")

Client = tuple[str, int] | None


class Connections:
    """The connections of this process. `bound` sets the limits, which are none before."""

    def __init__(self) -> None:
        self._limit = self._per_address = sys.maxsize
        self._trusted: Container[str] = ()
        self._count = 0
        self._by_address: Counter[str] = Counter()
        self._surplus: dict[Connection, None] = {}  # in their order: the oldest first

    def bound(self, *, limit: int, per_address: int, trusted: Container[str]) -> None:
        """Let in so many, and so many of one address, unless it is one of a trusted proxy."""
        self._limit, self._per_address, self._trusted = limit, per_address, trusted

    def enter(self, connection: Connection, client: Client) -> bool:
        """Count a newcomer. False makes it a surplus one, which leaves by `leave_surplus`; all others by `leave`."""
        address = address_of(client)
        if self._count >= self._limit:
            _too_many.say(self._limit)
        elif self._counts(client) and self._by_address[address] >= self._per_address:
            _too_many_of_one.say(self._per_address, address)
        else:
            self._count += 1
            self._by_address[address] += 1
            return True
        if len(self._surplus) >= SURPLUS:
            oldest = next(iter(self._surplus))
            del self._surplus[oldest]
            oldest.cut_off()
        self._surplus[connection] = None
        return False

    def leave(self, client: Client) -> None:
        address = address_of(client)
        self._count -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def leave_surplus(self, connection: Connection) -> None:
        self._surplus.pop(connection, None)

    def _counts(self, client: Client) -> bool:
        return client is not None and client[0] not in self._trusted


#: Those of this process.
connections = Connections()


def bound_by_open_files(trusted: Any) -> None:
    """Raise the limit of open files to what the machine allows, and keep connections and sockets below it.

    Called once in each worker. `settings.MAX_SOCKETS` is lowered where the files do not suffice, so that clients are
    told to come again (4004) and do not meet a closed door.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = settings.MAX_SOCKETS + HTTP_CONNECTIONS
    limit = wanted
    if hard != resource.RLIM_INFINITY:
        limit = max(1, min(wanted, hard - OTHER_FILES - settings.WEB_THREADS - SURPLUS))
    if limit < wanted:
        settings.MAX_SOCKETS = max(1, limit - min(HTTP_CONNECTIONS, limit // 4))
        logger.warning(
            "Open files are limited to %s (ulimit -n): %s connections are let in, of %s, and of them %s sockets.",
            hard,
            limit,
            wanted,
            settings.MAX_SOCKETS,
        )
    connections.bound(limit=limit, per_address=settings.MAX_CONNECTIONS_PER_ADDRESS, trusted=trusted)
