"""The history of orders: its rows, and the one function that writes and announces them.

Each status that an order gets leaves a `StatusChange` behind. Three callers have something to record: `saving` for one
order that is saved, `bulk` for many, and `services` for an update that moved nothing. All of them make entries with
`Change.entry` and hand them to `record`. Whether a change is allowed is not asked here; `lifecycle` says that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from orders.lifecycle import Status
from orders.shapes import have_a_year
from orders.signals import orders_created, statuses_changed


@dataclass(frozen=True, slots=True)
class Change:
    """What is known of a change and does not stand in the columns of the order.

    `actor` is the user who made it, or None. `note` is shown to the customer. If `notify` is false, the customer's
    stream does not get the change. `occurred_at` is when the status began; without it, it begins now. `from_status` is
    for a status that was changed past `save()`: the status that the history knows, since the row no longer tells.
    """

    actor: Any = None
    note: str = ""
    notify: bool = True
    occurred_at: datetime | None = None
    from_status: str | None = None

    def entry(
        self, order: Any, *, from_status: str, to_status: str | None = None, applied: bool = True
    ) -> StatusChange:
        """The entry for an order (`Order`) that this change moved, or, if not `applied`, would have moved."""
        now = timezone.now()
        return StatusChange(
            order=order,
            from_status=from_status,
            to_status=order.status if to_status is None else to_status,
            applied=applied,
            occurred_at=order.status_since if applied else self.occurred_at or now,
            recorded_at=now,
            actor=self.actor,
            note=self.note,
            notify=self.notify and applied,
        )


class StatusChange(models.Model):
    """One entry of an order's history: append-only, in the order in which it was recorded.

    If `applied` is false, the update came too late or repeated what was known: it is kept, and nothing moved. The
    first entry of an order has no `from_status`.
    """

    order = models.ForeignKey("orders.Order", on_delete=models.CASCADE, related_name="history")
    from_status = models.CharField(max_length=20, choices=Status.choices, blank=True)
    to_status = models.CharField(max_length=20, choices=Status.choices)
    applied = models.BooleanField(default=True)
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField(default=timezone.now, editable=False)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    note = models.CharField(max_length=500, blank=True)
    notify = models.BooleanField(default=True)

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.CheckConstraint(condition=Q(to_status__in=Status.values), name="change_to_status_is_known"),
            models.CheckConstraint(
                condition=Q(from_status__in=["", *Status.values]), name="change_from_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(applied=False) | ~Q(from_status=models.F("to_status")),
                name="change_applied_moves",
            ),
            models.CheckConstraint(
                condition=have_a_year("occurred_at", "recorded_at"), name="change_times_have_a_year"
            ),
        )

    def __str__(self) -> str:
        return f"{self.order_id}: {self.from_status or 'new'} → {self.to_status}"


def record(entries: Sequence[StatusChange]) -> None:
    """Write the entries, in one statement, and announce those that were applied.

    The caller's transaction has written the orders. The entries and whatever the receivers of the signals write commit
    with them or not at all.
    """
    StatusChange.objects.bulk_create(entries)
    applied = [entry for entry in entries if entry.applied]
    for signal, told in (
        (orders_created, [entry for entry in applied if not entry.from_status]),
        (statuses_changed, [entry for entry in applied if entry.from_status]),
    ):
        if told:
            signal.send(sender=type(told[0].order), changes=told)
