"""Time-outs of PostgreSQL's own for the web processes. Commands, migrations and tasks may take longer, and have none.

Set on each connection as it is opened, and not in the start-up packet, which PgBouncer refuses.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.backends.signals import connection_created

#: Seconds that a statement waits for a lock, as a share of what it may take: so that the answer says "lock".
LOCK_SHARE = 2 / 3
#: Seconds that a transaction of a process that has died or hangs may hold its locks.
IDLE_SECONDS = 60.0

TIMEOUTS = {
    "statement_timeout": settings.DATABASE_SECONDS,
    "lock_timeout": settings.DATABASE_SECONDS * LOCK_SHARE,
    "idle_in_transaction_session_timeout": IDLE_SECONDS,
}


def bound_statements() -> None:
    """From now on, whatever connection this process opens has the time-outs."""
    connection_created.connect(_set_timeouts, dispatch_uid="timeouts")


def _set_timeouts(connection: Any, **_: Any) -> None:
    if connection.vendor == "postgresql":
        calls = ", ".join(
            f"set_config('{name}', '{round(seconds * 1000)}', false)" for name, seconds in TIMEOUTS.items()
        )
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {calls}")
