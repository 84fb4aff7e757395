"""Two connections at once: what tests of locks, numbering and races need beside the one connection of the test itself.

Tests that call these ask for `django_db(transaction=True)`: a row that was never committed is nobody else's to see.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from django.db import connection, connections, transaction

from tests.polling import PATIENCE, poll

T = TypeVar("T")

EMBEDDED = os.environ.get("DATABASE_URL", "").startswith("sqlite:")
on_postgres = pytest.mark.skipif(EMBEDDED, reason="SQLite has one writer at a time")
on_sqlite = pytest.mark.skipif(not EMBEDDED, reason="what only SQLite does")

#: Statements of one notification: number the stream, store it; SQLite counts its writing transactions besides.
NOTIFYING = 3 if EMBEDDED else 2
#: Statements that write an order: SQLite has no number of a transaction here either, and one counts.
WRITING = 2 if EMBEDDED else 1


class Elsewhere:
    """Another connection, on a thread of its own, that does one thing after the other when it is told to."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="elsewhere")
        self.open: list[OpenTransaction] = []

    def begin(self, function: Callable[[], T]) -> Future[T]:
        """Start it there, and go on here."""
        return self._executor.submit(function)

    def do(self, function: Callable[[], T]) -> T:
        """Do it there, and wait for it."""
        return self.begin(function).result()

    def close(self) -> None:
        for opened in self.open:
            opened.give_up()  # a test that failed has not ended it
        self.do(connections.close_all)
        self._executor.shutdown()


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    other = Elsewhere()
    try:
        yield other
    finally:
        other.close()


class OpenTransaction:
    """A transaction on a connection of its own, held open until it is told how to end."""

    def __init__(self, other: Elsewhere, work: Callable[[], Any]) -> None:
        self._done = threading.Event()
        self._may_end = threading.Event()
        self._keeps = True
        self._future = other.begin(lambda: self._run(work))
        other.open.append(self)
        poll(lambda: self._done.is_set() or self._future.done(), saying="the work of an open transaction")

    def _run(self, work: Callable[[], Any]) -> None:
        with transaction.atomic():
            work()
            self._done.set()
            self._may_end.wait()
            transaction.set_rollback(not self._keeps)

    def commit(self) -> None:
        self._may_end.set()
        self._future.result()

    def roll_back(self) -> None:
        self._keeps = False
        self.commit()

    def give_up(self) -> None:
        """End it, if it was not ended, without a look at what became of it."""
        if not self._may_end.is_set():
            self._keeps = False
            self._may_end.set()


def together(*functions: Callable[[], T]) -> list[T | Exception]:
    """Call them at the same moment, each on a thread and a connection of its own; what they returned or raised."""
    barrier = threading.Barrier(len(functions), timeout=PATIENCE)

    def call(function: Callable[[], T]) -> T | Exception:
        try:
            connection.ensure_connection()
            barrier.wait()
            return function()
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=len(functions)) as executor:
        return list(executor.map(call, functions))


def somebody_waits_for_a_lock() -> bool:
    """Whether a connection to this test's database waits for another one's lock (PostgreSQL)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        [waiting] = cursor.fetchone()
    return bool(waiting)
