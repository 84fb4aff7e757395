"""Whole orders, as a shop's own system has them: created where they are new, updated where they differ, left alone
where they do not.

Called by the API, for one order and for a thousand, and by whatever brings orders in. Lines in, outcomes out: each
line is judged by itself, and one that is refused harms no other. All of them are a few statements and one transaction.

An order that is as its line says is read and nothing else: no lock, no version, no history, no notification. Locks
are taken in one order, so that two calls cannot wait for each other in a circle: customers who are new, by name; orders
that change, by key; orders that are new, by number; and streams, by the receivers of the signal.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from orders.bulk import Batch, OrderUnknown, lock
from orders.history import Change
from orders.listed import listed
from orders.models import Order
from orders.newcomers import customers_named
from orders.services import NumberTaken, VersionMismatch, begin
from orders.updates import OrderError, Update, carry_out

#: The columns that a line may bring, beside the status.
FIELDS = tuple(name for name in Order.VERSIONED if name not in ("number", "customer_id", "status", "status_since"))
#: How often a call is tried: others may create the same orders, or customers, at the same moment. Each time they are
#: there when it looks again.
ATTEMPTS = 5


class NotPermitted(OrderError):
    """The caller may see the order and not change it."""

    code = "permission_denied"


class NothingToMatch(OrderError):
    """The order has to be there, and is not."""

    code = "version_mismatch"


class CustomerNeeded(OrderError):
    """An order that is new has to say whose it is."""

    code = "required"


class CustomerDiffers(OrderError):
    """The order belongs to somebody else than the line says."""

    code = "customer_differs"


class NumberRepeated(OrderError):
    """Two lines are about one order. Which of them is the whole order, nobody can say."""

    code = "number_repeated"


class Result(StrEnum):
    """What has become of an order."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Whole:
    """An order as another system has it. What it does not name stays as it is.

    `customer` is a name in its stored spelling; an order that is new needs it. `to` is the status, which began at
    `occurred_at`; `note` is shown with it. If `there` is not None it says whether the order has to be there already,
    and with `versions` at one of them.
    """

    number: str
    customer: str | None = None
    to: str | None = None
    occurred_at: datetime | None = None
    note: str = ""
    notify: bool = True
    fields: Mapping[str, Any] = field(default_factory=dict)
    there: bool | None = None
    versions: Collection[int] | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """What became of a line. `ignored` names what of it was not applied: a late status, a note without a step.

    `order` is None if nothing was to be written.
    """

    result: Result
    number: str
    status: str
    version: int
    ignored: tuple[str, ...] = ()
    order: Order | None = None


def put_orders(
    *,
    lines: Sequence[Whole],
    among: QuerySet[Order],
    actor: Any = None,
    may_create: bool = True,
    may_change: bool = True,
) -> list[Put | OrderError]:
    """Carry out the lines on orders of the queryset `among`; gives an outcome or a refusal for each, in their order.

    Refusals are those of `services.create_order` and `services.update_order`, and those above.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic():
                return _Putting(lines, among, actor, may_create=may_create, may_change=may_change).all()
        except IntegrityError:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError


class _Putting:
    """One try at the lines."""

    def __init__(
        self, lines: Sequence[Whole], among: QuerySet[Order], actor: Any, *, may_create: bool, may_change: bool
    ) -> None:
        self.lines = lines
        self.among = among
        self.actor = actor
        self.may_create = may_create
        self.may_change = may_change
        self.results: dict[int, Put | OrderError] = {}

    def all(self) -> list[Put | OrderError]:
        rows = _read({line.number for line in self.lines}, self.among)
        absent: list[int] = []
        differing: list[int] = []
        seen: set[str] = set()
        for index, line in enumerate(self.lines):
            row = rows.get(line.number)
            if line.number in seen:
                self.results[index] = NumberRepeated(f"Order {line.number} stands in this batch already.")
            elif row is None:
                absent.append(index)
            elif not self.may_change:
                self.results[index] = NotPermitted(f"You may not change order {line.number}.")
            elif (unchanged := _unchanged(line, row)) is not None:
                self.results[index] = unchanged
            else:
                differing.append(index)
            seen.add(line.number)
        self._write(absent, differing)
        return [self.results[index] for index in range(len(self.lines))]

    def _write(self, absent: list[int], differing: list[int]) -> None:
        absent = self._creatable(absent)
        if not (absent or differing):
            return
        customers = customers_named(self.lines[index].customer or "" for index in absent)
        changing = [self.lines[index] for index in differing]
        batch = Batch(lock({line.number for line in changing}, self.among), self.actor)
        batch.read_history((line.number, line.occurred_at) for line in changing if line.to is not None)
        there = set(differing)
        for index in sorted([*differing, *absent]):
            if index in there:
                self._attempt(index, lambda line: self._update(batch, line))
            else:
                self._attempt(index, lambda line: self._create(batch, line, customers[line.customer or ""]))
        batch.write()

    def _attempt(self, index: int, judge: Any) -> None:
        try:
            self.results[index] = judge(self.lines[index])
        except OrderError as refusal:
            self.results[index] = refusal

    def _creatable(self, absent: list[int]) -> list[int]:
        """Those that may be created. Of an order that the caller does not see they learn that the number is taken, if
        they may create orders; otherwise nothing.
        """
        if not absent:
            return []
        numbers = [self.lines[index].number for index in absent]
        taken = set(Order.objects.filter(number__in=listed(numbers)).values_list("number", flat=True))
        found = []
        for index in absent:
            line = self.lines[index]
            if not self.may_create:
                self.results[index] = OrderUnknown(f"There is no order {line.number}.")
            elif line.number in taken:
                self.results[index] = NumberTaken(f"An order with the number {line.number} exists.")
            elif line.there:
                self.results[index] = NothingToMatch(f"There is no order {line.number}.")
            elif line.customer is None:
                self.results[index] = CustomerNeeded(f"Order {line.number} is new: whose is it?")
            else:
                found.append(index)
        return found

    def _create(self, batch: Batch, line: Whole, customer: Any) -> Put:
        if isinstance(customer, OrderError):
            raise customer
        order = Order(number=line.number, customer=customer, **line.fields)
        order.status = line.to or order.status
        told = begin(order, line.occurred_at, placed="placed_at" in line.fields)
        order.news_at = told
        change = Change(actor=self.actor, note=line.note, notify=line.notify, occurred_at=told)
        batch.add(order, change.entry(order, from_status=""), notify=line.notify)
        return Put(Result.CREATED, order.number, order.status, order.version, order=order)

    def _update(self, batch: Batch, line: Whole) -> Put:
        before = batch.orders.get(line.number)
        if before is None:  # deleted since it was read
            raise OrderUnknown(f"There is no order {line.number}.")
        _check(line, customer=before.customer.get_username(), version=before.version)
        order = copy(before)
        for name, value in line.fields.items():
            setattr(order, name, value)
        effect = None
        ignored: tuple[str, ...] = ("note",) if line.note else ()
        # A status that comes without a time is how the other system has the order, and no news if it has it already.
        if line.to is not None and (line.to != before.status or line.occurred_at is not None):
            update = Update(line.to, {}, self.actor, line.occurred_at, line.note, line.notify)
            effect = carry_out(order, update, history=lambda: batch.history_of(before), now=batch.now)
            ignored = effect.ignored if order.status == line.to else ("status", *effect.ignored)
        changed = batch.keep(before, order, effect, note=line.note, notify=line.notify)
        result = Result.UPDATED if changed else Result.UNCHANGED
        return Put(result, order.number, order.status, order.version, ignored, order)


def _check(line: Whole, *, customer: str, version: int) -> None:
    """Raises what keeps an order that is there from being updated, whatever the line brings."""
    if line.there is False:
        raise VersionMismatch(f"Order {line.number} exists; it is at version {version}.", version=version)
    if line.versions is not None and version not in line.versions:
        expected = " or ".join(map(str, sorted(line.versions))) or "at any that If-Match names"
        raise VersionMismatch(f"Order {line.number} is at version {version}, not {expected}.", version=version)
    if line.customer is not None and line.customer != customer:
        raise CustomerDiffers(f"Order {line.number} is another customer's.")


def _read(numbers: Collection[str], among: QuerySet[Order]) -> dict[str, Mapping[str, Any]]:
    """The orders as they are, by number: as plain values, since most of them commonly stay so."""
    names = ("number", f"customer__{get_user_model().USERNAME_FIELD}", "status", "status_since", "news_at", "version")
    rows = among.filter(number__in=listed(numbers)).order_by().values_list(*names, *FIELDS)
    columns = ("number", "customer", *names[2:], *FIELDS)
    return {row[0]: dict(zip(columns, row, strict=True)) for row in rows}


def _unchanged(line: Whole, row: Mapping[str, Any]) -> Put | OrderError | None:
    """The outcome of a line that brings nothing new; None if it has to be looked at with the order locked."""
    try:
        _check(line, customer=row["customer"], version=row["version"])
    except OrderError as refusal:
        return refusal
    for name, value in line.fields.items():
        if row[name] != value:
            return None
    # True and 1 are equal in Python, and not in JSON.
    if line.fields.get("metadata") and _written(line.fields["metadata"]) != _written(row["metadata"]):
        return None
    if line.to is not None:
        # The same status of the same time is the same news.
        known = line.occurred_at in (None, row["status_since"], row["news_at"])
        if line.to != row["status"] or not known:
            return None
    ignored = ("note",) if line.note else ()
    return Put(Result.UNCHANGED, line.number, row["status"], row["version"], ignored)


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
