"""Connections of the web processes to PostgreSQL: their time-outs, and when they are asked whether they still work.

Commands, migrations and tasks may take longer, and have no time-outs. These are set on each connection as it is opened,
and not in the start-up packet, which PgBouncer refuses.

With CONN_HEALTH_CHECKS Django sends `SELECT 1` before the first query of each request. So no request fails because
PostgreSQL has been restarted, and each request goes to PostgreSQL once more than it needs to. A server that ends a
connection says so, and closes it; the kernel knows at once, and tells without asking anybody. So here a connection is
looked at before each request, and asked only if something has come from it, or if it was not asked for a second.
"""

from __future__ import annotations

import select
import threading
import time
from typing import Any

from django.conf import settings
from django.core.signals import request_started
from django.db import connection
from django.db.backends.signals import connection_created

#: Seconds that a statement waits for a lock, as a share of what it may take: so that the answer says "lock".
LOCK_SHARE = 2 / 3
#: Seconds that a transaction of a process that has died or hangs may hold its locks.
IDLE_SECONDS = 60.0
#: Seconds for which a connection is not asked. A firewall that drops it without a word does so after minutes of
#: silence, and a thread that has slept for longer than this asks first.
TRUSTED_SECONDS = 1.0

TIMEOUTS = {
    "statement_timeout": settings.DATABASE_SECONDS,
    "lock_timeout": settings.DATABASE_SECONDS * LOCK_SHARE,
    "idle_in_transaction_session_timeout": IDLE_SECONDS,
}

_thread = threading.local()


def tend_connections() -> None:
    """From now on, whatever connection this process opens has the time-outs, and is asked no more than is needed."""
    connection_created.connect(_set_timeouts, dispatch_uid="timeouts")
    # After Django's own receiver, which notes for each request that the connection is to be asked.
    request_started.connect(_spare_the_question, dispatch_uid="spare the question")


def _set_timeouts(connection: Any, **_: Any) -> None:
    if connection.vendor == "postgresql":
        calls = ", ".join(
            f"set_config('{name}', '{round(seconds * 1000)}', false)" for name, seconds in TIMEOUTS.items()
        )
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {calls}")


def _spare_the_question(**_: Any) -> None:
    if connection.vendor != "postgresql" or connection.connection is None:
        return
    now = time.monotonic()
    if now < getattr(_thread, "trusted_until", 0.0) and _is_silent(connection.connection):
        connection.health_check_done = True  # type: ignore[attr-defined]  # the stubs lack it
    else:
        _thread.trusted_until = now + TRUSTED_SECONDS


def _is_silent(driver: Any) -> bool:
    """Whether nothing has come from the server unasked: between two requests that is the end, and nothing else."""
    if driver.closed:
        return False
    looking = select.poll()  # which, unlike select(), knows no bound for the number of the file
    looking.register(driver.fileno(), select.POLLIN)
    return not looking.poll(0)
