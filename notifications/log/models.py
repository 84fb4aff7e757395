"""The streams: one gapless, numbered log for each user.

Only `stream` writes these rows, and only in the transaction of what they tell of; `retention` deletes them.
"""

from __future__ import annotations

import secrets

from django.conf import settings
from django.db import models
from django.db.models import F, Q


def new_stream_id() -> str:
    """An opaque name for a stream: a stream that is begun anew gets another, and old positions in it mean nothing."""
    return secrets.token_urlsafe(9)


class Stream(models.Model):
    """One user's stream: its head is the number of the newest notification, 0 before the first."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="stream"
    )
    uid = models.CharField(max_length=16, unique=True, default=new_stream_id)
    head = models.PositiveBigIntegerField(default=0)
    read_up_to = models.PositiveBigIntegerField(default=0)
    #: Notifications up to this number are no longer kept.
    trimmed_up_to = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(read_up_to__lte=F("head")), name="stream_read_within_head"),
            models.CheckConstraint(condition=Q(trimmed_up_to__lte=F("head")), name="stream_trimmed_within_head"),
        )

    def __str__(self) -> str:
        return f"{self.user_id}@{self.head}"


class Notification(models.Model):
    """One entry of a stream. `frame` is the text that clients get: rendered once, the same live and replayed."""

    pk = models.CompositePrimaryKey("stream_id", "seq")
    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="+", db_index=False)
    seq = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=32)
    at = models.DateTimeField()
    frame = models.TextField()
    #: The transaction that wrote it, as a number that `delivery.tail` can compare.
    tx = models.BigIntegerField()

    class Meta:
        ordering = ("stream_id", "seq")
        indexes = (
            # delivery.tail: what each process asks every few seconds.
            models.Index(fields=("tx",), name="notification_tx"),
            # The retention task: everything older than a day.
            models.Index(fields=("at",), name="notification_at"),
        )
        constraints = (models.CheckConstraint(condition=Q(seq__gte=1), name="notification_seq_from_one"),)

    def __str__(self) -> str:
        return f"{self.stream_id}#{self.seq} {self.kind}"


class Writes(models.Model):
    """SQLite only, one row: the number of its newest writing transaction. PostgreSQL counts its own.

    The greatest number in the log would fall when the newest notifications are deleted with their user, and processes
    that have seen it would pass over the numbers that are then given a second time.
    """

    tx = models.BigIntegerField()

    def __str__(self) -> str:
        return str(self.tx)
