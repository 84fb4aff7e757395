"""The tail check's question: what has changed since a process last looked? Heads that moved, credentials that ended.

The hub asks it every NOTIFICATION_TAIL_SECONDS. Whatever hints did not bring is found here, so this is the guarantee
and the hint only the speed. It reads, and repairs nothing itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.utils import timezone

from notifications import users
from notifications.access.models import Revocation
from notifications.hints import publish
from notifications.log.models import Notification

#: How far back revocations are looked at, again and again: a handshake that had just checked a credential when it was
#: revoked is among the subscribers by then, and no transaction of a log-out stays open for so long.
REVOCATIONS_LOOKED_AT = timedelta(seconds=60)


class Mark(NamedTuple):
    """How far a process has looked: a transaction number, and a time."""

    tx: int
    at: datetime


class Changes(NamedTuple):
    """What `changes_since` found: the heads that moved, by the users' keys as texts (`users.text`), whose credentials
    were revoked, and the mark for next time.
    """

    heads: dict[str, int]
    revoked: list[publish.Revoked]
    mark: Mark


def changes_since(mark: Mark | None) -> Changes:
    """The heads of all streams that were appended to since `mark`, and recent revocations; None asks for a first mark.

    One statement, which costs what has changed and not what exists. Nothing that commits late is missed: on PostgreSQL
    a mark is the oldest transaction that was still running (`pg_snapshot_xmin`), and what it and all younger ones wrote
    is looked at again. SQLite has one writer at a time, so there its numbers are in commit order as they are.
    """
    log, revocations = Notification._meta.db_table, Revocation._meta.db_table
    postgresql = connection.vendor == "postgresql"
    following = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint" if postgresql else "coalesce(max(tx), 0)"
    source = "" if postgresql else f"FROM {log}"
    # Whatever is to be seen was written below the end of the snapshot. Beyond it are only the numbers that a dump has
    # brought from another cluster: without the bound a restored log would be looked at whole, every time.
    until = "AND tx < pg_snapshot_xmax(pg_current_snapshot())::text::bigint" if postgresql else ""
    now = timezone.now()
    since = mark or Mark(_NEVER, now)
    with connection.cursor() as cursor:
        cursor.execute(
            # The revocations first: they give the columns of the union their types.
            f"SELECT 'revoked', user_id, 0, {revocations}.key, at FROM {revocations} WHERE at >= %s "  # noqa: S608 # nosec B608
            "UNION ALL SELECT 'head', CAST(stream_id AS text), max(seq), '', NULL "
            f"FROM {log} WHERE tx >= %s {until} GROUP BY stream_id "
            f"UNION ALL SELECT 'mark', '', {following}, '', NULL {source}",
            [_in_column(since.at - REVOCATIONS_LOOKED_AT), since.tx],
        )
        rows = cursor.fetchall()
    return Changes(
        # SQLite keeps a UUID in another spelling than Python's.
        heads={users.text(user_id): head for what, user_id, head, _, _ in rows if what == "head"},
        revoked=[
            publish.Revoked(user_id, key, _from_column(at).timestamp())
            for what, user_id, _, key, at in rows
            if what == "revoked"
        ],
        mark=Mark(next(number for what, _, number, _, _ in rows if what == "mark"), now),
    )


#: A mark that no transaction reaches.
_NEVER = 2**63 - 1


def _in_column(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


def _from_column(value: Any) -> datetime:
    """SQLite gives times as text, in UTC and without saying so."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value).replace(tzinfo=UTC)
