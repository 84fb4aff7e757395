"""Which streams have something new for a channel: a look at what was appended since its last look.

It costs what was appended and not what is kept: the log has an index along the numbers of transactions, and a channel
remembers the number from which it has to look. On PostgreSQL that is the oldest transaction that is still running
(`pg_snapshot_xmin`): what it and all younger ones have appended is looked at again, so nothing that commits late is
missed. SQLite has one writer at a time, and its numbers are in commit order as they are.

A channel begins at now: at its first look, when it was switched off for longer than `ASLEEP`, and in a restored backup.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Max
from django.dispatch import receiver
from django.utils import timezone

from notifications import users
from notifications.batches import Deadline
from notifications.channels.channel import Channel
from notifications.channels.cursors import forget_waiting
from notifications.channels.models import ChannelCursor, ChannelMark
from notifications.log import stream
from notifications.log.models import Notification, Stream, Writes
from notifications.users import UserKey

#: A channel that has not looked for so long was switched off: beat is never away for a day. What has happened meanwhile
#: is no news.
ASLEEP = timedelta(days=1)
#: Notifications of one look, which is one transaction: it locks their streams' cursors for hundredths of a second.
BATCH = 1_000


def look(channel: Channel, *, wait: timedelta, deadline: Deadline) -> None:
    """Note when each stream is due that something was appended to. Two looks at once: one of them does nothing."""
    after: int | None = 0
    while after is not None and not deadline.passed():
        after = _look_at_some(channel.name, after, wait)


@transaction.atomic
def _look_at_some(name: str, after: int, wait: timedelta) -> int | None:
    """One batch, from a number on that this look has reached; gives where the next one begins, None for no more."""
    now = timezone.now()
    mark = ChannelMark.objects.select_for_update(skip_locked=True).filter(pk=name).first()
    settled, end = _numbers()
    if mark is None:
        # The first look of all; otherwise another process is just looking, and its mark stays as it is.
        ChannelMark.objects.bulk_create([ChannelMark(pk=name, tx=end, looked_at=now)], ignore_conflicts=True)
        return None
    # A mark that no transaction has reached is another cluster's: a backup was restored.
    if mark.looked_at < now - ASLEEP or mark.tx > end:
        forget_waiting(ChannelCursor.objects.filter(channel=name))
        mark.tx, mark.looked_at, mark.failures, mark.paused_until = end, now, 0, None
        mark.save()
        return None
    # Beyond the end are only the numbers that a dump has brought from another cluster.
    fresh = Notification.objects.filter(tx__gte=max(mark.tx, after), tx__lt=end)
    some = fresh.order_by("tx").values_list("tx", flat=True)[:BATCH]
    last = list(some)[BATCH - 1 :]
    until = last[0] + 1 if last else end
    keys = fresh.filter(tx__lt=until).order_by("stream_id").values_list("stream_id", flat=True).distinct()
    _await(name, list(keys), since=mark.tx, due_at=now + wait)
    mark.tx, mark.looked_at = max(mark.tx, min(until, settled)), now
    mark.save(update_fields=["tx", "looked_at"])
    return until if last else None


def _await(name: str, keys: Collection[UserKey], *, since: int, due_at: datetime) -> None:
    """Make the cursors of these streams due, but for those that are already, or that are off.

    A stream that is due is read up to its head then. Its row is waited for: the process that has just delivered it
    looks at the head while it holds the row, so one of the two sees what is new.
    """
    for start in range(0, len(keys), stream.STREAMS_PER_QUERY):
        some = list(keys)[start : start + stream.STREAMS_PER_QUERY]
        cursors = ChannelCursor.objects.select_for_update(no_key=True).filter(channel=name, stream_id__in=some)
        found = {cursor.stream_id: cursor for cursor in cursors.order_by("stream_id")}
        idle = [cursor for cursor in found.values() if cursor.due_at is None and cursor.off_at is None]
        new = [ChannelCursor(channel=name, stream_id=key) for key in some if key not in found]
        before = _before(name, since, [cursor.stream_id for cursor in (*idle, *new)])
        for cursor in new:
            cursor.sent_up_to, cursor.due_at = before.get(cursor.stream_id, 0), due_at
        # A user who says no at this moment has made the row: it is off, and stays so.
        ChannelCursor.objects.bulk_create(new, ignore_conflicts=True)
        # What was looked at before may have been delivered since.
        waiting = [cursor for cursor in idle if cursor.stream_id in before]
        # Few: those to whom something was told while the channel was off. A value for each row is slow.
        moved = [cursor for cursor in waiting if cursor.sent_up_to < before[cursor.stream_id]]
        for cursor in moved:
            cursor.sent_up_to = before[cursor.stream_id]
        ChannelCursor.objects.bulk_update(moved, ["sent_up_to"])
        ChannelCursor.objects.filter(pk__in=[cursor.pk for cursor in waiting]).update(due_at=due_at)


def _before(name: str, since: int, keys: Collection[UserKey]) -> dict[UserKey, int]:
    """The number before the first of each stream that a transaction from `since` on has appended, and that was not
    delivered yet; streams without one are left out.

    The first is looked for in the stream itself: transactions get their numbers when they begin, and the one that
    locked the stream first may have the higher number and be in a later batch.
    """
    if not keys:
        return {}
    quoted = (connection.ops.quote_name(model._meta.db_table) for model in (Stream, Notification, ChannelCursor))
    streams, log, cursors = quoted
    marks = ", ".join(["%s"] * len(keys))
    with connection.cursor() as cursor:
        cursor.execute(
            # `tx + 0`: by the index of the stream. That of `tx` would be read from the mark to its end for each stream.
            f"SELECT s.user_id, (SELECT min(n.seq) FROM {log} n WHERE n.stream_id = s.user_id AND n.tx + 0 >= %s "  # noqa: S608 # nosec B608
            f"AND n.seq > coalesce((SELECT c.sent_up_to FROM {cursors} c "
            f"WHERE c.stream_id = s.user_id AND c.channel = %s), 0)) FROM {streams} s WHERE s.user_id IN ({marks})",
            [since, name, *map(users.column, keys)],
        )
        return {users.key(user_id): first - 1 for user_id, first in cursor.fetchall() if first}


def _numbers() -> tuple[int, int]:
    """All transactions below the first number have ended, and none has reached the second."""
    if connection.vendor == "sqlite":
        end = int(Writes.objects.aggregate(newest=Max("tx"))["newest"] or 0) + 1
        return end, end
    edges = ", ".join(f"pg_snapshot_{edge}(pg_current_snapshot())::text::bigint" for edge in ("xmin", "xmax"))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {edges}")
        settled, end = cursor.fetchone()
        return int(settled), int(end)


@receiver(stream.restarted)
def begin_anew(**_: Any) -> None:
    """After a backup was restored: what waited then was delivered since, and numbers of transactions mean nothing."""
    ChannelMark.objects.all().delete()
    forget_waiting(ChannelCursor.objects.all())
