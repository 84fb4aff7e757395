"""Which user is told what of an order: the one place where orders become notifications.

Runs inside the transaction of the change, called by the signals of `orders.signals`. It decides which user is told,
and in which kind; the engine (`notifications`) numbers, stores and delivers. To add a kind of notification: add it to
`Kind`, and append an event of it where it happens.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django.dispatch import receiver

from notifications.hints import publish
from notifications.log import stream
from orders.board import BOARD
from orders.selectors import snapshot
from orders.signals import News, What, orders_changed


class Kind(StrEnum):
    """What a notification tells of."""

    ORDER_CREATED = "order.created"
    ORDER_STATUS_CHANGED = "order.status_changed"
    ORDER_UPDATED = "order.updated"
    ORDER_DELAYED = "order.delayed"


KINDS = {
    What.CREATED: Kind.ORDER_CREATED,
    What.STATUS_CHANGED: Kind.ORDER_STATUS_CHANGED,
    What.UPDATED: Kind.ORDER_UPDATED,
    What.DELAYED: Kind.ORDER_DELAYED,
}


@receiver(orders_changed)
def notify_of_changes(*, news: list[News], **_: Any) -> None:
    """All in one call: the streams of several customers are locked in their order, whatever happened to whose order."""
    stream.append([_event(one) for one in news if one.notify])
    # Staff see every change, also one that the customer is not told of. By a delay nothing has changed.
    if touched := [one.order.number for one in news if one.what is not What.DELAYED]:
        publish.on_commit(publish.Touched(BOARD, touched))


def _event(news: News) -> stream.Event:
    """To the order's customer: the order as it is now, whole, the note, and what else its kind tells."""
    body = {"order": snapshot(news.order), "note": news.note}
    if news.what is What.UPDATED:
        body["changed"] = list(news.changed)
    return stream.Event(user_id=news.order.customer_id, kind=KINDS[news.what], at=news.at, body=body)
