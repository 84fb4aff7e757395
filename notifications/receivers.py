"""Where orders become notifications: the one way from `orders` up to here.

Runs inside the transaction of the change. Decides who is told and in which kind; `stream` does the rest.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.utils import timezone

from notifications import publish, stream
from notifications.models import Stream
from notifications.protocol import Kind
from orders.models import Order, StatusChange
from orders.selectors import snapshot
from orders.signals import orders_created, orders_updated, statuses_changed


@receiver(post_save, sender=settings.AUTH_USER_MODEL)
def give_a_stream(*, instance: Any, created: bool, raw: bool, **_: Any) -> None:
    """Before anybody follows it: the hub would else begin it, and wait for whoever is just writing its first entry."""
    if created and not raw:
        Stream.objects.create(user=instance)


@receiver(statuses_changed)
def notify_of_status_changes(*, changes: list[StatusChange], **_: Any) -> None:
    stream.append(
        [
            stream.Event(
                user_id=change.order.customer_id,
                kind=Kind.ORDER_STATUS_CHANGED,
                at=change.recorded_at,
                order=snapshot(change.order),
                note=change.note,
            )
            for change in changes
            if change.notify
        ]
    )
    _tell_boards([change.order for change in changes])


@receiver(orders_created)
def notify_of_new_orders(*, orders: list[Order], notify: bool, **_: Any) -> None:
    if notify:
        stream.append([_event(order, Kind.ORDER_CREATED) for order in orders])
    _tell_boards(orders)


@receiver(orders_updated)
def notify_of_updates(*, orders: list[Order], notify: bool, **_: Any) -> None:
    if notify:
        stream.append([_event(order, Kind.ORDER_UPDATED) for order in orders])
    _tell_boards(orders)


def _tell_boards(orders: list[Order]) -> None:
    """Staff see every change, also one that the customer is not told of."""
    publish.on_commit(publish.OrdersChanged([order.number for order in orders]))


def _event(order: Order, kind: Kind) -> stream.Event:
    return stream.Event(user_id=order.customer_id, kind=kind, at=timezone.now(), order=snapshot(order))
