"""Which user is told what of an order: the one place where orders become notifications.

Runs inside the transaction of the change, called by the signals of `orders.signals`. It decides which user is told,
and in which kind; the engine (`notifications`) numbers, stores and delivers. To add a kind of notification: add it to
`Kind`, and append an event of it where it happens.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.dispatch import receiver
from django.utils import timezone

from notifications.hints import publish
from notifications.log import stream
from orders.board import BOARD
from orders.models import Order, StatusChange
from orders.selectors import snapshot
from orders.signals import orders_created, orders_delayed, orders_updated, statuses_changed


class Kind(StrEnum):
    """What a notification tells of."""

    ORDER_CREATED = "order.created"
    ORDER_STATUS_CHANGED = "order.status_changed"
    ORDER_UPDATED = "order.updated"
    ORDER_DELAYED = "order.delayed"


@receiver(statuses_changed)
def notify_of_status_changes(*, changes: list[StatusChange], **_: Any) -> None:
    stream.append(
        [
            _event(change.order, Kind.ORDER_STATUS_CHANGED, at=change.recorded_at, note=change.note)
            for change in changes
            if change.notify
        ]
    )
    _tell_boards(change.order for change in changes)


@receiver(orders_created)
def notify_of_new_orders(*, changes: list[StatusChange], **_: Any) -> None:
    stream.append(
        [_event(change.order, Kind.ORDER_CREATED, at=change.recorded_at) for change in changes if change.notify]
    )
    _tell_boards(change.order for change in changes)


@receiver(orders_updated)
def notify_of_updates(*, orders: list[Order], notify: bool, changed: list[list[str]], **_: Any) -> None:
    if notify:
        stream.append(
            [_event(order, Kind.ORDER_UPDATED, changed=names) for order, names in zip(orders, changed, strict=True)]
        )
    _tell_boards(orders)


@receiver(orders_delayed)
def notify_of_delays(*, orders: list[Order], **_: Any) -> None:
    """Boards are not told: of the order nothing has changed."""
    stream.append([_event(order, Kind.ORDER_DELAYED) for order in orders])


def _tell_boards(orders: Iterable[Order]) -> None:
    """Staff see every change, also one that the customer is not told of."""
    publish.on_commit(publish.Touched(BOARD, [order.number for order in orders]))


def _event(order: Order, kind: Kind, *, at: datetime | None = None, note: str = "", **more: Any) -> stream.Event:
    """To the order's customer: the order as it is now, whole, the note, and what else its kind tells."""
    return stream.Event(
        user_id=order.customer_id,
        kind=kind,
        at=at or timezone.now(),
        body={"order": snapshot(order), "note": note, **more},
    )
