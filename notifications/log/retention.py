"""What is too old leaves the log. Called once an hour; safe to run twice, and in two places at once.

Each stream remembers how far it was trimmed, in the transaction that trims it, so that a client that resumes from
before that is reset and not left with a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone

from notifications import users
from notifications.batches import Deadline
from notifications.conf import settings
from notifications.log.models import Notification, Stream
from notifications.users import UserKey

#: Notifications of one transaction. It locks as many streams at the most, for some hundredths of a second: whoever
#: writes to one of them waits that long.
BATCH = 1_000


def trim(before: datetime | None = None, *, deadline: Deadline | None = None) -> int:
    """Delete the notifications of before a moment, unless told those older than `NOTIFICATION_RETENTION_DAYS`; gives
    their number. What is left when the deadline has passed is for the next call.
    """
    deadline = deadline or Deadline()
    before = before or timezone.now() - timedelta(days=settings.NOTIFICATION_RETENTION_DAYS)
    deleted = 0
    ahead = old = Notification.objects.filter(at__lt=before).order_by("at")
    while not deadline.passed():
        found = list(ahead.values_list("stream_id", "seq", "at")[:BATCH])
        gone = _delete([(user_id, seq) for user_id, seq, _ in found])
        deleted += gone
        # Nothing went: all of these streams are being written to at this moment, and the next call finds them.
        if len(found) < BATCH or not gone:
            return deleted
        ahead = old.filter(at__gte=found[-1][2])
    deadline.tell("Notifications", deleted)
    return deleted


@transaction.atomic
def _delete(found: Sequence[tuple[UserKey, int]]) -> int:
    """Delete these notifications, by user and number, and move the marks of their streams.

    Nobody is waited for: the streams that somebody is writing to are passed over.
    """
    keys = {user_id for user_id, _ in found}
    locked = Stream.objects.select_for_update(skip_locked=True, no_key=True).filter(pk__in=keys).order_by("pk")
    mine = set(locked.values_list("pk", flat=True))
    rows = sorted((users.column(user_id), seq) for user_id, seq in found if user_id in mine)
    if not rows:
        return 0
    # Sorted, so that the last number of each stream is the one that stays.
    marks = [(seq, user_id, seq) for user_id, seq in dict(rows).items()]
    streams, log = (connection.ops.quote_name(model._meta.db_table) for model in (Stream, Notification))
    values = ", ".join(["(%s, %s)"] * len(rows))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {streams} SET trimmed_up_to = %s WHERE user_id = %s AND trimmed_up_to < %s",  # noqa: S608 # nosec B608
            marks,
        )
        # Values, which are looked up one by one: PostgreSQL would take longer to plan as many ORs than this takes.
        cursor.execute(
            f"DELETE FROM {log} WHERE (stream_id, seq) IN (VALUES {values})",  # noqa: S608 # nosec B608
            [value for row in rows for value in row],
        )
        return int(cursor.rowcount)
