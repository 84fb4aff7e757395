"""Every write of an order: the row is locked, the lifecycle is asked, the order is saved.

Called by the API, the admin, tasks and commands. Each function is one transaction: the change, its history and the
notifications that `orders.signals` causes commit together or not at all. Nothing here knows the receivers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.utils import timezone

from orders import customers, lifecycle, selectors
from orders.history import Change, record
from orders.models import Order

#: How far another system's clock may run ahead of ours. Beyond it an update is refused: a status dated tomorrow would
#: make every true update until then a late one.
CLOCK_SKEW = timedelta(minutes=5)


class OrderError(Exception):
    """A rule of the business refuses the change; `code` names the rule to machines, the text to people."""

    code = "order_error"


class NumberTaken(OrderError):
    """An order with this number exists."""

    code = "number_taken"


class CustomerExists(OrderError):
    """A customer is called so in another spelling, and `existing` in the one that is kept."""

    code = "customer_exists"

    def __init__(self, name: str, *, existing: str) -> None:
        self.existing = existing
        super().__init__(f"There is a customer {existing}; {name} differs from it only by case or spelling.")


class IllegalTransition(OrderError):
    """The lifecycle has no such step; `allowed` lists those it has."""

    code = "illegal_transition"

    def __init__(self, *, status: str, to: str) -> None:
        self.allowed = lifecycle.allowed(status)
        super().__init__(f"An order that is {status} cannot become {to}.")


class NoteRequired(OrderError):
    """A step outside the lifecycle needs a note that says why."""

    code = "note_required"


class OccurredInFuture(OrderError):
    """`occurred_at` lies further ahead than clocks differ."""

    code = "occurred_in_future"


class VersionMismatch(OrderError):
    """The order is no longer at the version that the caller saw."""

    code = "version_mismatch"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an update: the order as it is now, and whether the update's status was applied to it."""

    order: Order
    applied: bool


def customer_named(name: str) -> Any:
    """The user of that name, who is created, without a password, if unknown.

    Raises `CustomerExists` if there is none, but one whose name differs only by case or spelling, and ValidationError
    for what is no name. Of two callers that come at once with two names that are alike, the database refuses one.
    """
    users = get_user_model()
    name = customers.spelled(name)
    customer = customers.called(name)
    if customer is not None:
        return customer
    customers.check_name(name)
    try:
        with transaction.atomic():
            return users._default_manager.create(**{users.USERNAME_FIELD: name, "password": make_password(None)})
    except IntegrityError:
        if (customer := customers.called(name)) is not None:
            return customer
        if (other := customers.alike(name)) is not None:
            raise CustomerExists(name, existing=other.get_username()) from None
        raise


@transaction.atomic
def create_order(*, number: str, customer: str, actor: Any = None, notify: bool = True, **fields: Any) -> Order:
    """Create an order for the user named `customer`, who is created, without a password, if unknown.

    Raises `NumberTaken` and `CustomerExists`.
    """
    order = Order(number=number, customer=customer_named(customer), **fields)
    # A shop's clock may run ahead of ours; a status that begins in the future would make true updates late ones.
    change = Change(actor=actor, notify=notify, occurred_at=min(order.placed_at, timezone.now()))
    try:
        # Asking first would not help if two callers come at once. The unique constraint decides, and the savepoint
        # keeps the transaction usable after a refusal.
        with transaction.atomic():
            order.save(change=change)
    except IntegrityError as error:
        if Order.objects.filter(number=number).exists():
            raise NumberTaken(f"An order with the number {number} exists.") from error
        raise
    return order


def change_status(
    *,
    order: Order,
    to: str,
    actor: Any = None,
    occurred_at: datetime | None = None,
    note: str = "",
    notify: bool = True,
) -> Outcome:
    """Move the order to the status `to`; see `update_order` for what is raised and when nothing is applied."""
    return update_order(order=order, to=to, actor=actor, occurred_at=occurred_at, note=note, notify=notify)


@transaction.atomic
def update_order(
    *,
    order: Order,
    to: str | None = None,
    fields: Mapping[str, Any] | None = None,
    actor: Any = None,
    occurred_at: datetime | None = None,
    note: str = "",
    notify: bool = True,
    versions: Collection[int] | None = None,
) -> Outcome:
    """Apply one update: the status `to`, other `fields`, or both, as one new version of the order.

    The row is locked first, so two systems that update one order take turns. An update whose `occurred_at` is older
    than `status_since` is late: it goes into the history and changes nothing. A status that the order already has goes
    into the history too, while its `fields` are applied.

    Raises `VersionMismatch` if `versions` are given and the order's is none of them, `IllegalTransition`,
    `NoteRequired`, `OccurredInFuture`, and `Order.DoesNotExist` if it is gone.
    """
    happened_at = time_of(occurred_at)
    locked = Order.objects.select_related("customer").select_for_update(of=("self",), no_key=True).get(pk=order.pk)
    if versions is not None and locked.version not in versions:
        expected = " or ".join(map(str, sorted(versions)))
        raise VersionMismatch(f"Order {locked.number} is at version {locked.version}, not {expected}.")
    change = Change(actor=actor, note=note, notify=notify, occurred_at=happened_at)

    if to is not None and occurred_at is not None and happened_at < locked.status_since:
        record([change.entry(locked, from_status=locked.status, to_status=to, applied=False)])
        return Outcome(order=locked, applied=False)
    for name, value in (fields or {}).items():
        setattr(locked, name, value)
    if to is None or to == locked.status:
        if to is not None:
            record([change.entry(locked, from_status=to, to_status=to, applied=False)])
        locked.save(change=change)
        return Outcome(order=locked, applied=to is None)

    check_step(locked.status, to, actor=actor, note=note)
    locked.status = to
    # Without a time of its own an update happens now, and now never lies before what has happened already: the clocks
    # of two of our processes may differ.
    locked.save(change=replace(change, occurred_at=max(happened_at, locked.status_since)))
    return Outcome(order=locked, applied=True)


@transaction.atomic
def record_unrecorded_change(*, number: str) -> bool:
    """Record and announce a status that was changed past `save()`. Returns whether there was such a change."""
    order = Order.objects.select_related("customer").select_for_update(of=("self",), no_key=True).get(number=number)
    recorded = selectors.recorded_status(order)
    if recorded == order.status:
        return False
    order.save(change=Change(from_status=recorded))
    return True


def time_of(occurred_at: datetime | None) -> datetime:
    """When an update happened: at the time that its sender gives, otherwise now. The sender's clock may be ahead."""
    now = timezone.now()
    if occurred_at is not None and occurred_at > now + CLOCK_SKEW:
        raise OccurredInFuture("occurred_at lies in the future.")
    return min(occurred_at or now, now)


def check_step(status: str, to: str, *, actor: Any, note: str) -> None:
    """Ask the lifecycle. An actor with `orders.override_status` may take any step, with a note that says why."""
    if lifecycle.is_legal(status, to):
        return
    if actor is None or not actor.has_perm("orders.override_status"):
        raise IllegalTransition(status=status, to=to)
    if not note:
        raise NoteRequired(f"A step from {status} to {to} needs a note that says why.")
