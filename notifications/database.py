"""Database work for code that runs on an event loop: a few threads of their own, which keep their connections.

Django's connections belong to threads. asgiref's `database_sync_to_async` puts all of a process's work on one shared
thread, where one slow query delays everybody. Here each kind of work (the hub, handshakes, a topic) takes its turn on
two threads, and none gets both: what waits for a lock delays no other kind.

A PostgreSQL that is stopped, and not dead, acknowledges what it is sent and never answers: no time-out of TCP's or its
own notices. So each call has a time, after which its connection is cut and its thread gets an error.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from typing import Any, ParamSpec, TypeVar

from django.db import DEFAULT_DB_ALIAS, OperationalError, close_old_connections, connections

from notifications.conf import settings

#: Seconds for which a connection is used without a look at its age (`CONN_MAX_AGE`) and without asking the server
#: whether it still works. One that has broken meanwhile fails a call, and all callers here try again.
TRUSTED_SECONDS = 10.0

#: Seconds that a call may take beyond DATABASE_SECONDS.
MARGIN_SECONDS = 1.0

#: Threads, and so connections, for all the engine does in a process: one may wait for a lock, the other goes on. A few
#: more would wait for Python's interpreter lock instead, and PostgreSQL's connections are few (docs/operations.md).
SHARED_THREADS = 2

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseThreads:
    """`size` threads, started as they are needed; `close` ends them and their connections.

    A call may take `seconds`, its wait for a thread included: a little more than a statement may, whose own time-out
    says better what was wrong.
    """

    def __init__(self, name: str, size: int = 1, *, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._executor: Executor = ThreadPoolExecutor(max_workers=size, thread_name_prefix=name)
        self._size = size
        self._thread = threading.local()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that queries; raises what it raises, and OperationalError when it takes too long."""
        using: list[Any] = []
        seconds = settings.DATABASE_SECONDS + MARGIN_SECONDS if self._seconds is None else self._seconds

        def call() -> T:
            using.append(connections[DEFAULT_DB_ALIAS])
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
            finally:
                using.clear()

        try:
            async with asyncio.timeout(seconds) as limit:
                return await asyncio.get_running_loop().run_in_executor(self._executor, call)
        except TimeoutError:
            if not limit.expired():
                raise
            for connection in tuple(using):  # none, if the call has not begun or has just ended
                cut(connection)
            raise OperationalError(f"The database has not answered within {seconds:g} s.") from None

    async def close(self) -> None:
        await _close(self._executor, self._size)


class SharedThreads(DatabaseThreads):
    """One kind of work on the process's `SHARED_THREADS`: one call of it at a time, in turn with the other kinds.

    `close` closes the connections of all kinds; a call after it opens new ones.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._executor = _Turns()

    async def on_each_thread(self, function: Callable[[], Any]) -> None:
        """Call it once on every thread. For what a test has to prepare on each connection."""
        await _on_each(_shared.submit, SHARED_THREADS, function)

    async def close(self) -> None:
        if (pool := _shared.take()) is not None:
            await _close(pool, SHARED_THREADS)


class _Shared:
    """The pool that all kinds share: begun when it is needed, and anew after it was taken away to be closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def submit(self, function: Callable[[], None]) -> Future[None]:
        with self._lock:  # not closed between the look and the call
            if self._pool is None:
                self._pool = ThreadPoolExecutor(max_workers=SHARED_THREADS, thread_name_prefix="engine")
            return self._pool.submit(function)

    def take(self) -> ThreadPoolExecutor | None:
        """The pool, which nobody is given any more: two that closed one pool would wait for each other."""
        with self._lock:
            pool, self._pool = self._pool, None
            return pool


_shared = _Shared()


class _Turns(Executor):
    """One call at a time on the shared pool. The next one queues up anew, behind the other kinds' calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._busy = False

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            self._waiting.append((future, lambda: function(*args, **kwargs)))
            if not self._busy:
                self._busy = True
                _shared.submit(self._turn)
        return future

    def _turn(self) -> None:
        with self._lock:
            future, call = self._waiting.popleft()
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call())
            except BaseException as error:  # as concurrent.futures does: it is the caller's
                future.set_exception(error)
        with self._lock:
            self._busy = bool(self._waiting)
            if self._busy:
                _shared.submit(self._turn)


async def _on_each(
    submit: Callable[[Callable[[], None]], Future[None]], size: int, function: Callable[[], Any]
) -> None:
    # A barrier keeps each thread at its call until all have one, so that none of them is called twice.
    barrier = Barrier(size)

    def call() -> None:
        barrier.wait()
        function()

    await asyncio.gather(*(asyncio.wrap_future(submit(call)) for _ in range(size)))


async def _close(executor: Executor, size: int) -> None:
    await _on_each(executor.submit, size, connections.close_all)
    executor.shutdown()


def cut(database: Any) -> None:
    """Shut the socket of another thread's connection down, so that the wait for an answer there ends in an error.

    `database` is Django's connection. Nothing happens where there is none to cut: SQLite has no socket, and opening a
    connection has a time-out of its own.
    """
    connection = database.connection
    if database.vendor != "postgresql" or connection is None or connection.closed:
        return
    with suppress(Exception):  # it may end at any moment, in its own thread
        descriptor = os.dup(connection.fileno())
        with socket.socket(fileno=descriptor) as copy:
            # Open before and after the copy was made: so the number was not another connection's meanwhile.
            if database.connection is connection and not connection.closed:
                copy.shutdown(socket.SHUT_RDWR)
