"""Many status changes in a handful of statements: what `services.change_status` does for each, set by set.

Called by the API's batch endpoint. Each line is judged as if it came alone, in the order given, and gets its own
result; a line that is refused harms no other. The rows, their history and the notifications of all are one
transaction, and the signal goes out once, with all changes. How the lines come in and what is answered is the business
of `api.batch`.

Two calls cannot wait for each other in a circle: orders are locked in the order of their keys, and after them, by the
receivers of the one signal, the streams in the order of theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from orders.history import Change, StatusChange, record
from orders.models import Order
from orders.services import OrderError, Outcome, check_step, time_of


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
    moved = {entry.order_id for entry in history if entry.applied}
    Order.save_advanced([order for order in orders.values() if order.pk in moved])
    record(history)
    return results


def _lock(numbers: Iterable[str], among: QuerySet[Order]) -> dict[str, Order]:
    """The orders by number, locked in the order of their keys."""
    rows = among.select_related("customer").select_for_update(of=("self",), no_key=True)
    return {order.number: order for order in rows.filter(number__in=numbers).order_by("pk")}


def _apply(orders: dict[str, Order], line: Line, actor: Any) -> StatusChange:
    """Carry out the line in memory; gives the entry of its history. Nothing is written yet.

    An order that moves is replaced by a copy in `orders`: each entry, and so each notification, tells of its own
    moment, and the last copy is the one that is written.
    """
    order = orders.get(line.number)
    if order is None:
        raise OrderUnknown(f"There is no order {line.number}.")
    happened_at = time_of(line.occurred_at)
    change = Change(actor=actor, note=line.note, notify=line.notify, occurred_at=happened_at)
    if line.occurred_at is not None and happened_at < order.status_since:
        return change.entry(order, from_status=order.status, to_status=line.to, applied=False)
    if line.to == order.status:
        if any(getattr(order, name) != value for name, value in line.fields.items()):
            raise DetailsDiffer(f"Order {order.number} is {order.status} already; send its details by themselves.")
        return change.entry(order, from_status=order.status, to_status=line.to, applied=False)
    check_step(order.status, line.to, actor=actor, note=line.note)
    moved = orders[line.number] = copy(order)
    for name, value in line.fields.items():
        setattr(moved, name, value)
    moved.status = line.to
    moved.status_since = max(happened_at, order.status_since)
    moved.advance()
    return change.entry(moved, from_status=order.status)
