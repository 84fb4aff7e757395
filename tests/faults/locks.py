"""Rows that a test locks, so that somebody else stops in the middle of what they do, for as long as the test wants."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.polling import apoll

WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@contextmanager
def locked(database_url: str, select: str, *parameters: Any) -> Iterator[None]:
    """Lock the rows that a SELECT finds, until the end of the block, or until PostgreSQL ends."""
    lock = psycopg.connect(database_url)
    try:
        assert lock.execute(f"{select} FOR UPDATE", parameters).fetchone(), "there is nothing to lock"
        yield
    finally:
        lock.close()


async def somebody_waits(database_url: str) -> None:
    """Wait until a transaction waits for a lock."""
    with psycopg.connect(database_url, autocommit=True) as observer:
        await apoll(lambda: observer.execute(WAITING).fetchone(), saying="somebody who waits for the lock")
