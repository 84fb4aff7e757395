"""The history of orders: its rows, and the functions that read, write and announce them.

Each status that an order gets leaves a `StatusChange` behind. Three callers have something to record: `saving` for one
order that is saved, `bulk` for many, and `services` for an update that moved nothing. All of them make entries with
`Change.entry` and hand them to `record`. Whether a change is allowed, and which entries count, is not asked here;
`lifecycle` says that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from orders.inserting import insert_rows
from orders.lifecycle import Status
from orders.shapes import have_a_year
from orders.signals import News, orders_changed


@dataclass(frozen=True, slots=True)
class Change:
    """What is known of a change and does not stand in the columns of the order.

    `actor` is the user who made it, or None. `note` is shown to the customer. If `notify` is false, the customer's
    stream does not get the change. `occurred_at` is when the status began; without it, it begins now. `from_status` is
    for a status that was changed past `save()`: the status that the history knows, since the row no longer tells.
    `made` is the entry, if it was made already. `former` is the order as its former customer knew it, if it is given to
    another.
    """

    actor: Any = None
    note: str = ""
    notify: bool = True
    occurred_at: datetime | None = None
    from_status: str | None = None
    made: StatusChange | None = None
    former: Any = None

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
            occurred_at=self.occurred_at or (order.status_since if applied else now),
            dated=bool(from_status) or self.occurred_at is not None,
            recorded_at=now,
            actor=self.actor,
            note=self.note,
            notify=self.notify and applied,
        )


class StatusChange(models.Model):
    """One entry of an order's history: none is ever deleted while the order is there.

    Those that are `applied` are the order's story (`lifecycle`). The others came too late or repeated what was known:
    they are kept, and move nothing. Late news can make an entry count, or count no longer; then `applied` changes, and
    `from_status` is the status before it in the story. The first entry of an order has no `from_status`.
    """

    order = models.ForeignKey("orders.Order", on_delete=models.CASCADE, related_name="history")
    from_status = models.CharField(max_length=20, choices=Status.choices, blank=True)
    to_status = models.CharField(max_length=20, choices=Status.choices)
    applied = models.BooleanField(default=True)
    occurred_at = models.DateTimeField()
    # False for the first entry of an order, if nobody told when it began: `occurred_at` is when we heard of it.
    dated = models.BooleanField(default=True, db_default=True, editable=False)
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


#: In this order the entries of one order happened.
AS_IT_HAPPENED = ("dated", "occurred_at", "pk")

#: Entries of one order that are looked at for the place of late news: the newest, several times what an order has.
MAX_LOOKED_AT = 100


def news_known(order_ids: Collection[Any]) -> dict[Any, list[StatusChange]]:
    """The newest entries of each of these orders, in the order in which they came. One query."""
    place = Window(
        RowNumber(),
        partition_by=F("order_id"),
        order_by=[F("dated").desc(), F("occurred_at").desc(), F("pk").desc()],
    )
    known: dict[Any, list[StatusChange]] = {order_id: [] for order_id in order_ids}
    rows = StatusChange.objects.filter(order__in=order_ids).annotate(place=place).filter(place__lte=MAX_LOOKED_AT)
    for entry in rows.order_by("pk"):
        known[entry.order_id].append(entry)
    return known


def put_in_order(entries: Sequence[StatusChange], story: Sequence[int]) -> list[StatusChange]:
    """Let those entries count that are the story, and no others; gives those that are no longer as they were written.

    `story` has the indices of the steps, in the order in which they happened.
    """
    before = [(entry.applied, entry.from_status) for entry in entries]
    for index in set(range(len(entries))) - set(story):
        entries[index].applied = False
    for index, earlier in zip(story, (None, *story), strict=False):
        entry = entries[index]
        if earlier is not None:
            entry.from_status = entries[earlier].to_status
        elif entry._state.adding:
            entry.from_status = ""
        entry.applied = entry.from_status != entry.to_status
    return [
        entry
        for entry, was in zip(entries, before, strict=True)
        if not entry._state.adding and was != (entry.applied, entry.from_status)
    ]


def record(entries: Sequence[StatusChange], news: Sequence[News], *, corrected: Iterable[StatusChange] = ()) -> None:
    """Write the entries, in one statement, and tell the news; `corrected` entries are there, and changed.

    The caller's transaction has written the orders. The entries and whatever the receivers of the signal write commit
    with them or not at all.
    """
    insert_rows(entries)
    alike: dict[tuple[bool, str], list[Any]] = {}
    for entry in corrected:
        alike.setdefault((entry.applied, entry.from_status), []).append(entry.pk)
    for (applied, from_status), keys in alike.items():
        StatusChange.objects.filter(pk__in=keys).update(applied=applied, from_status=from_status)
    tell(news)


def tell(news: Sequence[News]) -> None:
    """Announce what has become of orders that this transaction has written."""
    if news:
        orders_changed.send(sender=News, news=list(news))
