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
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone

from orders.history import StatusChange, news_known, record
from orders.models import Order
from orders.services import Outcome
from orders.signals import News, What
from orders.updates import OccurredInFuture, OrderError, Update, carry_out, happened, is_late


class OrderUnknown(OrderError):
    """There is no such order among those that the caller may change."""

    code = "not_found"


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

    An outcome's order is as it was after its line. Refusals are those of `services.update_order`, and `OrderUnknown`.
    """
    batch = _Batch(_lock({line.number for line in lines}, among), actor)
    batch.read_history(lines)
    results = [batch.carry_out(line) for line in lines]
    batch.write()
    return results


def _lock(numbers: Iterable[str], among: QuerySet[Order]) -> dict[str, Order]:
    """The orders by number, locked in the order of their keys."""
    rows = among.select_related("customer").select_for_update(of=("self",), no_key=True)
    return {order.number: order for order in rows.filter(number__in=numbers).order_by("pk")}


class _Batch:
    """Lines that are carried out in memory, and then written."""

    def __init__(self, orders: dict[str, Order], actor: Any) -> None:
        self.orders = orders
        self.actor = actor
        # One for all lines: they are judged at one moment.
        self.now = timezone.now()
        self.histories: dict[Any, list[StatusChange]] = {}
        self.entries: list[StatusChange] = []
        self.corrected: dict[Any, StatusChange] = {}
        self.news: list[News] = []
        self.changed: set[str] = set()

    def read_history(self, lines: Iterable[Line]) -> None:
        """Of those orders that a line brings late news of: of few, commonly."""
        late = set()
        newest: dict[str, datetime | None] = {number: order.news_at for number, order in self.orders.items()}
        for line in lines:
            if order := self.orders.get(line.number):
                known = newest[line.number]
                with suppress(OccurredInFuture):
                    at = happened(line.occurred_at, now=self.now, newest=known, since=order.status_since)
                    if is_late(line.occurred_at, at, newest=known):
                        late.add(order.pk)
                    else:
                        newest[line.number] = at
        if late:
            self.histories = news_known(late)

    def carry_out(self, line: Line) -> Outcome | OrderError:
        """Carry out the line in memory.

        The order is replaced by a copy: each notification tells of its own moment, and the last copy is the one that is
        written.
        """
        before = self.orders.get(line.number)
        if before is None:
            return OrderUnknown(f"There is no order {line.number}.")
        order = copy(before)
        update = Update(line.to, line.fields, self.actor, line.occurred_at, line.note, line.notify)
        history = self.histories.get(order.pk, [])
        try:
            effect = carry_out(order, update, history=lambda: history, now=self.now)
        except OrderError as refusal:
            return refusal
        self.orders[line.number] = order
        if effect.entry:
            self.entries.append(effect.entry)
            if effect.entry not in history:
                history.append(effect.entry)
        self.corrected |= {entry.pk: entry for entry in effect.corrected}
        if changed := order.advance_from(before):
            self.changed.add(line.number)
            what, note = (What.STATUS_CHANGED, line.note) if effect.moved else (What.UPDATED, "")
            self.news.append(News(what, order, at=self.now, note=note, notify=line.notify, changed=changed))
        return Outcome(order=order, applied=effect.applied, ignored=effect.ignored)

    def write(self) -> None:
        """Write the orders that changed and the history, and announce what has changed."""
        Order.save_advanced([self.orders[number] for number in self.changed])
        record(self.entries, self.news, corrected=self.corrected.values())
        # Of what moved nothing the order keeps only when it happened.
        heard = {entry.order_id for entry in self.entries} - {self.orders[number].pk for number in self.changed}
        if heard:
            newest = StatusChange.objects.filter(order=OuterRef("pk"), dated=True).order_by("-occurred_at")
            Order.objects.filter(pk__in=heard).update(news_at=Subquery(newest.values("occurred_at")[:1]))
