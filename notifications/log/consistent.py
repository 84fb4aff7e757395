"""One read of several queries: a page's state and its position in the stream, as they were at one moment.

For an application that hands out both together. Read one after the other, a change that commits in between would be in
one of them only. It takes no locks, and it refuses to write.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction


@contextmanager
def consistent_read() -> Iterator[None]:
    """All queries inside see the database as it was at the first of them.

    PostgreSQL: a transaction that is REPEATABLE READ and READ ONLY (postgresql.org/docs, SET TRANSACTION). SQLite: any
    transaction is one snapshot in WAL mode (sqlite.org/isolation.html). Inside a transaction that has begun already,
    whose isolation nobody can change any more, that one's holds.
    """
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "sqlite":
        with _without_the_writers_lock(), transaction.atomic():
            yield
    else:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield


@contextmanager
def _without_the_writers_lock() -> Iterator[None]:
    """With `transaction_mode` IMMEDIATE each transaction takes SQLite's one writing lock, and a reader would wait."""
    connection.ensure_connection()  # it reads the mode from the settings
    database: Any = connections[DEFAULT_DB_ALIAS]
    mode, database.transaction_mode = database.transaction_mode, "DEFERRED"
    try:
        yield
    finally:
        database.transaction_mode = mode
