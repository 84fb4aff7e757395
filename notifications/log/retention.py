"""What is too old leaves the log. Called once an hour; safe to run twice, and in two places at once.

Each stream remembers how far it was trimmed, in the transaction that trims it, so that a client that resumes from
before that is reset and not left with a gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from notifications.batches import BATCH, Deadline
from notifications.conf import settings
from notifications.log.models import Notification, Stream
from notifications.log.stream import STREAMS_PER_QUERY
from notifications.users import UserKey


def trim(before: datetime | None = None, *, deadline: Deadline | None = None) -> int:
    """Delete the notifications of before a moment, unless told those older than `NOTIFICATION_RETENTION_DAYS`; gives
    their number. What is left when the deadline has passed is for the next call.
    """
    deadline = deadline or Deadline()
    before = before or timezone.now() - timedelta(days=settings.NOTIFICATION_RETENTION_DAYS)
    deleted = 0
    ahead = old = Notification.objects.filter(at__lt=before).order_by("at")
    while not deadline.passed():
        found = list(ahead.values_list("at", "stream_id", "seq")[:BATCH])
        ends: dict[UserKey, int] = {}
        for _, user_id, seq in found:
            ends[user_id] = max(seq, ends.get(user_id, 0))
        keys = sorted(ends)
        parts = [keys[start : start + STREAMS_PER_QUERY] for start in range(0, len(keys), STREAMS_PER_QUERY)]
        gone = sum(_trim({user_id: ends[user_id] for user_id in part}) for part in parts)
        deleted += gone
        # Nothing went: all of these streams are being written to at this moment, and the next call finds them.
        if len(found) < BATCH or not gone:
            return deleted
        ahead = old.filter(at__gte=found[-1][0])
    deadline.tell("Notifications", deleted)
    return deleted


def _trim(ends: Mapping[UserKey, int]) -> int:
    """Delete what these streams have up to a number each, in one transaction. Waits for nobody who writes to one."""
    with transaction.atomic():
        locked = Stream.objects.select_for_update(skip_locked=True, no_key=True).filter(pk__in=ends).order_by("pk")
        streams = list(locked.only("trimmed_up_to"))
        if not streams:
            return 0
        over = Q()
        for stream in streams:
            over |= Q(stream_id=stream.pk, seq__lte=ends[stream.pk])
            stream.trimmed_up_to = max(stream.trimmed_up_to, ends[stream.pk])
        Stream.objects.bulk_update(streams, ["trimmed_up_to"])
        return Notification.objects.filter(over)._raw_delete(connection.alias)
