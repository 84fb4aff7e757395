"""Database work for code that runs on an event loop: a few threads of their own, which keep their connections.

Django's connections belong to threads. asgiref's `database_sync_to_async` puts all of a process's work on one shared
thread, where one slow query delays everybody; here each kind of work (the hub, a topic, handshakes) has its own.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connections

#: Seconds for which a connection is used without a look at its age (`CONN_MAX_AGE`) and without asking the server
#: whether it still works. One that has broken meanwhile fails a call, and all callers here try again.
TRUSTED_SECONDS = 10.0

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseThreads:
    """`size` threads, started as they are needed; `close` ends them and their connections."""

    def __init__(self, name: str, size: int = 1) -> None:
        self._executor = ThreadPoolExecutor(max_workers=size, thread_name_prefix=name)
        self._size = size
        self._thread = threading.local()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that queries; raises what it raises."""

        def call() -> T:
            now = time.monotonic()
            # By when it was looked at and not by when it was used: a loop that asks every second would never renew it.
            if now > getattr(self._thread, "looked_at", 0.0) + TRUSTED_SECONDS:
                close_old_connections()  # the next query is then preceded by a question to the server
                self._thread.looked_at = now
            try:
                return function(*args, **kwargs)
            except Exception:
                close_old_connections()  # one that broke is opened anew, by the next call
                raise

        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    async def close(self) -> None:
        # A barrier keeps each thread at its call until all have one, so that none of them closes twice.
        barrier = Barrier(self._size)

        def close_connections() -> None:
            barrier.wait()
            connections.close_all()

        await asyncio.gather(
            *(asyncio.get_running_loop().run_in_executor(self._executor, close_connections) for _ in range(self._size))
        )
        self._executor.shutdown()
