"""The threads on which Django answers requests, and the look after those that hang.

`bridge` runs requests here and the readiness probe its question, so that the probe says what a request would meet. The
server's tick calls `look` once a second. A request that occupies its thread for more than REQUEST_SECONDS has its
stack logged, once, and its database connection cut: a PostgreSQL that is stopped acknowledges what it is sent, so
that neither TCP nor libpq notices, and the cut makes an error of it, which is answered 503. When every thread has hung
for twice as long, `look` says that the process is lost.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from config.server.thread_pool import ThreadPool
from notifications.database import cut

logger = logging.getLogger(__name__)

#: Seconds that a request may wait for a thread. After ten, browsers' users have clicked again.
WAIT_SECONDS = 10.0
#: After so many times REQUEST_SECONDS a thread counts as lost: the cut of its connection has not helped.
LOST_AFTER = 2

P = ParamSpec("P")
T = TypeVar("T")


class Busy(Exception):
    """No thread came free in time."""


@dataclass
class Running:
    """What one thread does now, since when, and with which of Django's database connections."""

    name: str
    database: Any
    began: float = field(default_factory=time.monotonic)
    told: bool = False


class WebThreads:
    """`size` threads, started as they are needed, each with a database connection of its own."""

    def __init__(self, size: int) -> None:
        self._pool = ThreadPool(size, name="web")
        self._size = size
        self._seconds: float = settings.REQUEST_SECONDS
        self._running: dict[int, Running] = {}
        #: Whether every thread hangs, and the process is to be replaced.
        self.lost = False

    async def run(self, name: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function on a thread; raises what it raises, and `Busy`. `name` is what the log calls it."""
        if self.lost:
            raise Busy
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def call() -> None:
            try:
                settle = partial(_settle, answer, context.run(self._call, name, partial(function, *args, **kwargs)))
            except BaseException as error:  # it is the caller's
                settle = partial(_fail, answer, error)
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waits
                loop.call_soon_threadsafe(settle)

        def give_up() -> None:
            if self._pool.withdraw(call):
                _fail(answer, Busy())

        waiting = loop.call_later(WAIT_SECONDS, give_up)
        try:
            self._pool.submit(call)
            return await answer
        finally:
            waiting.cancel()
            if answer.cancelled():
                self._pool.withdraw(call)

    def _call(self, name: str, function: Callable[[], T]) -> T:
        thread = threading.get_ident()
        self._running[thread] = Running(name, connections[DEFAULT_DB_ALIAS])
        try:
            return function()
        finally:
            del self._running[thread]

    def look(self) -> bool:
        """Tell of the requests that hang, and cut their connections. Whether the process is lost."""
        now = time.monotonic()
        lost = 0
        for thread, running in list(self._running.items()):
            seconds = now - running.began
            if seconds > self._seconds:
                self._tell(thread, running)
                cut(running.database)
            lost += seconds > LOST_AFTER * self._seconds
        if lost >= self._size and not self.lost:
            self.lost = True
            logger.error("Every thread hangs: this process stops, for another to take its place.")
        return self.lost

    def _tell(self, thread: int, running: Running) -> None:
        if not running.told and (frame := sys._current_frames().get(thread)) is not None:
            running.told = True
            stack = "".join(traceback.format_stack(frame))
            logger.error("%s has run for more than %g s. It is at:\n%s", running.name, self._seconds, stack)


def _settle(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
