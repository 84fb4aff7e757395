"""Many status changes in a handful of statements: what `services.change_status` does for each, set by set.

Called by the API's batch endpoint; `upsert` uses `Batch` for whole orders. Each line is judged as if it came alone, in
the order given, and gets its own result; a line that is refused harms no other. The rows, their history and the
notifications of all are one transaction, and the signal goes out once, with all changes. How the lines come in and what
is answered is the business of `api.batch`.

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
from orders.listed import listed
from orders.many import insert_orders, update_orders
from orders.models import Order
from orders.services import Outcome
from orders.signals import News, What
from orders.updates import Effect, OccurredInFuture, OrderError, Update, carry_out, happened, is_late


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
    batch = Batch(lock({line.number for line in lines}, among), actor)
    batch.read_history((line.number, line.occurred_at) for line in lines)
    results = [batch.carry_out(line) for line in lines]
    batch.write()
    return results


def lock(numbers: Iterable[str], among: QuerySet[Order]) -> dict[str, Order]:
    """The orders by number, locked in the order of their keys."""
    rows = among.select_related("customer").select_for_update(of=("self",), no_key=True)
    return {order.number: order for order in rows.filter(number__in=listed(numbers)).order_by("pk")}


class Batch:
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
        self.new: list[Order] = []

    def read_history(self, news: Iterable[tuple[str, datetime | None]]) -> None:
        """Of those orders that there are late news of: of few, commonly. `news` has each number and `occurred_at`."""
        late = set()
        newest: dict[str, datetime | None] = {number: order.news_at for number, order in self.orders.items()}
        for number, occurred_at in news:
            if order := self.orders.get(number):
                known = newest[number]
                with suppress(OccurredInFuture):
                    at = happened(occurred_at, now=self.now, newest=known, since=order.status_since)
                    if is_late(occurred_at, at, newest=known):
                        late.add(order.pk)
                    else:
                        newest[number] = at
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
        try:
            effect = carry_out(order, update, history=lambda: self.history_of(order), now=self.now)
        except OrderError as refusal:
            return refusal
        self.keep(before, order, effect, note=line.note, notify=line.notify)
        return Outcome(order=order, applied=effect.applied, ignored=effect.ignored)

    def history_of(self, order: Order) -> list[StatusChange]:
        """What `read_history` found of it."""
        return self.histories.get(order.pk, [])

    def keep(self, before: Order, order: Order, effect: Effect | None, *, note: str, notify: bool) -> bool:
        """Put the order, as an update has left it, into the place of what was before. Gives whether it differs."""
        self.orders[order.number] = order
        if effect and effect.entry:
            history = self.history_of(order)
            self.entries.append(effect.entry)
            if effect.entry not in history:
                history.append(effect.entry)
        if effect:
            self.corrected |= {entry.pk: entry for entry in effect.corrected}
        changed = order.advance_from(before)
        if not changed:
            return False
        self.changed.add(order.number)
        moved = effect is not None and effect.moved
        what = What.STATUS_CHANGED if moved else What.UPDATED
        self.news.append(News(what, order, at=self.now, note=note if moved else "", notify=notify, changed=changed))
        return True

    def add(self, order: Order, entry: StatusChange, *, notify: bool) -> None:
        """An order that is new, with the beginning of its history."""
        self.new.append(order)
        self.entries.append(entry)
        self.news.append(News(What.CREATED, order, at=entry.recorded_at, note=entry.note, notify=notify))

    def write(self) -> None:
        """Write the orders that are new or changed, and the history, and announce it all."""
        # By number: two transactions that create the same orders do so in the same order.
        insert_orders(sorted(self.new, key=lambda order: order.number))
        update_orders([self.orders[number] for number in self.changed])
        record(self.entries, self.news, corrected=self.corrected.values())
        # Of what moved nothing the order keeps only when it happened.
        written = {order.pk for order in self.new} | {self.orders[number].pk for number in self.changed}
        heard = {entry.order_id for entry in self.entries} - written
        if heard:
            newest = StatusChange.objects.filter(order=OuterRef("pk"), dated=True).order_by("-occurred_at")
            Order.objects.filter(pk__in=heard).update(news_at=Subquery(newest.values("occurred_at")[:1]))
