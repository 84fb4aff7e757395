"""Every write of an order: the row is locked, the lifecycle is asked, the order is saved.

Called by the API, the admin, tasks and commands. Each function is one transaction: the change, its history and the
notifications that `orders.signals` causes commit together or not at all. Nothing here knows the receivers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.utils import timezone

from orders import customers, selectors
from orders.history import Change, news_known, record, tell
from orders.messages import Conversation, Message
from orders.models import Order
from orders.signals import News, What
from orders.updates import (
    CLOCK_SKEW,
    IllegalTransition,
    NoteRequired,
    OccurredInFuture,
    OrderError,
    Update,
    carry_out,
    happened,
)

#: What is raised here comes from `updates` in part.
__all__ = ["CLOCK_SKEW", "IllegalTransition", "NoteRequired", "OccurredInFuture", "OrderError"]


class NumberTaken(OrderError):
    """An order with this number exists: `order`, if the caller may see it."""

    code = "number_taken"

    def __init__(self, detail: str, *, order: Order | None = None) -> None:
        super().__init__(detail)
        self.order = order


class CustomerExists(OrderError):
    """A customer is called so in another spelling, and `existing` in the one that is kept."""

    code = "customer_exists"

    def __init__(self, name: str, *, existing: str) -> None:
        self.existing = existing
        super().__init__(f"There is a customer {existing}; {name} differs from it only by case or spelling.")


class VersionMismatch(OrderError):
    """The order is no longer at the version that the caller saw."""

    code = "version_mismatch"

    def __init__(self, detail: str, *, version: int | None) -> None:
        """`version` is the one that the order is at; None if there is no order."""
        super().__init__(detail)
        self.version = version


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an update: the order as it is now, and whether the update's status is a step of its story.

    `ignored` names fields of a late update that were not applied.
    """

    order: Order
    applied: bool
    ignored: tuple[str, ...] = ()


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


def begin(order: Order, occurred_at: datetime | None, *, placed: bool) -> datetime | None:
    """Set the times of a new order. Gives when it got its status; None if nobody told.

    `placed` says whether the order's `placed_at` was told.
    """
    now = timezone.now()
    order.status_since = happened(occurred_at, now=now, newest=None, since=datetime.min.replace(tzinfo=UTC))
    if placed:
        # A shop's clock may run ahead of ours; a status that begins in the future would make true updates late ones.
        order.status_since = order.status_since if occurred_at else min(order.placed_at, now)
    else:
        order.placed_at = order.status_since
    return order.status_since if occurred_at or placed else None


@transaction.atomic
def create_order(
    *,
    number: str,
    customer: str,
    actor: Any = None,
    occurred_at: datetime | None = None,
    notify: bool = True,
    **fields: Any,
) -> Order:
    """Create an order for the user named `customer`, who is created, without a password, if unknown.

    It may be on its way: it has had its `status` since `occurred_at`, otherwise since `placed_at`. Without either we
    make a time up. Raises `NumberTaken`, `CustomerExists` and `OccurredInFuture`.
    """
    order = Order(number=number, customer=customer_named(customer), **fields)
    change = Change(actor=actor, notify=notify, occurred_at=begin(order, occurred_at, placed="placed_at" in fields))
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

    The row is locked first, so two systems that update one order take turns. A status that is not news, since something
    newer is known of the order, gets its place in the history; the order has the status that its story ends with
    (`lifecycle.read`). Such an update's fields are applied if it is the end of the story; otherwise those of the
    shipment fill what is empty. A status that the order has already is kept in the history, and its `fields` are
    applied.

    Raises `VersionMismatch` if `versions` are given and the order's is none of them, `IllegalTransition`,
    `NoteRequired`, `OccurredInFuture`, and `Order.DoesNotExist` if it is gone.
    """
    locked = _locked(order)
    _check_version(locked, versions)
    if to is None:
        for name, value in (fields or {}).items():
            setattr(locked, name, value)
        locked.save(change=Change(actor=actor, notify=notify))
        return Outcome(order=locked, applied=True)

    update = Update(to, fields or {}, actor, occurred_at, note, notify)
    newest = locked.news_at
    effect = carry_out(locked, update, history=lambda: news_known([locked.pk])[locked.pk])
    change = Change(actor=actor, note=note, notify=notify)
    if effect.moved:
        record([], [], corrected=effect.corrected)
        # The entry stands in the history when the row is written: `save` does both.
        locked.save(change=replace(change, made=effect.entry, occurred_at=locked.status_since))
    else:
        record([effect.entry] if effect.entry else [], [], corrected=effect.corrected)
        locked.save(change=change)
        if locked.news_at != newest:
            Order.objects.filter(pk=locked.pk).update(news_at=locked.news_at)
    return Outcome(order=locked, applied=effect.applied, ignored=effect.ignored)


@transaction.atomic
def change_customer(*, order: Order, customer: Any, actor: Any = None, notify: bool = True) -> Order:
    """Give the order to another `customer`, a user, and tell both: to the one it is gone, to the other it is new.

    Its history goes along. What the former customer and the staff have written to each other is deleted: it is no
    other customer's to read. Raises `Order.DoesNotExist` if it is gone.
    """
    locked = _locked(order)
    if locked.customer_id != customer.pk:
        Conversation.objects.filter(order=locked.pk).delete()
        Message.objects.filter(order=locked.pk).delete()
        former = copy(locked)
        locked.customer = customer
        locked.save(change=Change(actor=actor, notify=notify, former=former))
    return locked


@transaction.atomic
def delete_order(*, order: Order, notify: bool = True, versions: Collection[int] | None = None) -> None:
    """Delete the order, with its history and conversation. What its customer was told of it stays in their stream.

    Raises `VersionMismatch` as `update_order` does, and `Order.DoesNotExist` if it is gone.
    """
    locked = _locked(order)
    _check_version(locked, versions)
    removed = copy(locked)
    removed.version += 1
    locked.delete()
    tell([News(What.REMOVED, removed, at=timezone.now(), notify=notify)])


def _locked(order: Order) -> Order:
    rows = Order.objects.select_related("customer").select_for_update(of=("self",), no_key=True)
    return rows.get(pk=order.pk)


def _check_version(order: Order, versions: Collection[int] | None) -> None:
    if versions is not None and order.version not in versions:
        expected = " or ".join(map(str, sorted(versions)))
        detail = f"Order {order.number} is at version {order.version}, not {expected}."
        raise VersionMismatch(detail, version=order.version)


@transaction.atomic
def record_unrecorded_change(*, number: str) -> bool:
    """Record and announce a status that was changed past `save()`. Returns whether there was such a change."""
    order = Order.objects.select_related("customer").select_for_update(of=("self",), no_key=True).get(number=number)
    recorded = selectors.recorded_status(order)
    if recorded == order.status:
        return False
    order.save(change=Change(from_status=recorded))
    return True
