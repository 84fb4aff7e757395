"""Many status changes in a handful of statements: what `services.change_status` does for each, set by set.

Called by the API's batch endpoint. Each line is judged as if it came alone, in the order given, and gets its own
result; a line that is refused harms no other. The rows, their history and the notifications of all are one
transaction, and the signal goes out once, with all changes.

Two batches cannot wait for each other in a circle: orders are locked in the order of their keys, and after them, by
the receivers of the one signal, the streams in the order of theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from orders.models import Order, StatusChange
from orders.services import OrderError, Outcome, check_step, time_of
from orders.signals import statuses_changed


class OrderUnknown(OrderError):
    """There is no such order among those that the caller may change."""

    code = "not_found"


class DetailsDiffer(OrderError):
    """The order has the status already, but not the details that came with it: a change without a new status."""

    code = "details_differ"


@dataclass(frozen=True, slots=True)
class Line:
    """One change: the order `number` to the status `to`, with other fields that change along with it."""

    number: str
    to: str
    occurred_at: datetime | None = None
    note: str = ""
    notify: bool = True
    fields: Mapping[str, Any] = field(default_factory=dict)


@transaction.atomic
def change_statuses(*, lines: Sequence[Line], among: QuerySet[Order], actor: Any = None) -> list[Outcome | OrderError]:
    """Carry out the lines on orders of the queryset `among`; gives an outcome or a refusal for each, in their order.

    An outcome's order is as it was after its line. Refusals are those of `services.update_order`, `OrderUnknown`, and
    `DetailsDiffer`.
    """
    orders = _lock({line.number for line in lines}, among)
    before = {order.pk: order.version for order in orders.values()}
    history: list[StatusChange] = []
    results: list[Outcome | OrderError] = []
    for line in lines:
        try:
            entry = _apply(orders, line, actor)
        except OrderError as refusal:
            results.append(refusal)
            continue
        history.append(entry)
        results.append(Outcome(order=entry.order, applied=entry.applied))
    _write([order for order in orders.values() if order.version != before[order.pk]])
    StatusChange.objects.bulk_create(history)
    if applied := [entry for entry in history if entry.applied]:
        statuses_changed.send(sender=Order, changes=applied)
    return results


def _lock(numbers: Iterable[str], among: QuerySet[Order]) -> dict[str, Order]:
    """The orders by number, locked in the order of their keys."""
    rows = among.select_related("customer").select_for_update(of=("self",), no_key=True)
    return {order.number: order for order in rows.filter(number__in=numbers).order_by("pk")}


def _apply(orders: Mapping[str, Order], line: Line, actor: Any) -> StatusChange:
    """Change the instance as the line says; gives the entry of its history. Nothing is written yet."""
    order = orders.get(line.number)
    if order is None:
        raise OrderUnknown(f"There is no order {line.number}.")
    happened_at = time_of(line.occurred_at)
    from_status, applied = order.status, False
    if line.occurred_at is None or happened_at >= order.status_since:
        if line.to == order.status:
            if any(getattr(order, name) != value for name, value in line.fields.items()):
                raise DetailsDiffer(f"Order {order.number} is {order.status} already; send its details by themselves.")
        else:
            check_step(order.status, line.to, actor=actor, note=line.note)
            for name, value in line.fields.items():
                setattr(order, name, value)
            order.status = line.to
            order.status_since = max(happened_at, order.status_since)
            order.advance()
            applied = True
    return StatusChange(
        # As it is now: a later line may change it again, and each notification tells of its own moment.
        order=copy(order),
        from_status=from_status,
        to_status=line.to,
        applied=applied,
        occurred_at=order.status_since if applied else happened_at,
        recorded_at=timezone.now(),
        actor=actor,
        note=line.note,
        notify=line.notify and applied,
    )


def _write(orders: list[Order]) -> None:
    """Write the versioned columns of rows that this transaction has locked, in one statement.

    An INSERT whose every row meets the one that is there: the way to many UPDATEs with different values that both
    databases know, and whose cost grows with the rows and not with their square. It is Django's own `bulk_create`, past
    the refusal of ours, because the history and the signal are written here.
    """
    columns = [*Order.VERSIONED, "version", "updated_at"]
    rows: QuerySet[Order] = QuerySet(Order)
    rows.bulk_create(
        orders,
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=[column for column in columns if column not in ("number", "customer_id")],
    )
