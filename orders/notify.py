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
from orders import positions
from orders.board import BOARD, CONVERSATION, ORDER, message_fields
from orders.messages import Message, Side
from orders.models import Order
from orders.selectors import snapshot
from orders.signals import News, What, customers_created, message_written, orders_changed


class Kind(StrEnum):
    """What a notification tells of."""

    ORDER_CREATED = "order.created"
    ORDER_STATUS_CHANGED = "order.status_changed"
    ORDER_UPDATED = "order.updated"
    ORDER_REMOVED = "order.removed"
    ORDER_DELAYED = "order.delayed"
    ORDER_MESSAGE = "order.message"


KINDS = {
    What.CREATED: Kind.ORDER_CREATED,
    What.STATUS_CHANGED: Kind.ORDER_STATUS_CHANGED,
    What.UPDATED: Kind.ORDER_UPDATED,
    What.REMOVED: Kind.ORDER_REMOVED,
    What.DELAYED: Kind.ORDER_DELAYED,
}

#: Characters of a message that its notification repeats: what fits into two lines of a toast.
PREVIEW = 160


@receiver(orders_changed)
def notify_of_changes(*, news: list[News], **_: Any) -> None:
    """All in one call: the streams of several customers are locked in their order, whatever happened to whose order."""
    stream.append([_event(one) for one in news if one.notify])
    # Staff see every change, also one that the customer is not told of. By a delay nothing has changed.
    if touched := [f"{ORDER}{one.order.number}" for one in news if one.what is not What.DELAYED]:
        publish.on_commit(publish.Touched(BOARD, touched))


@receiver(message_written)
def notify_of_messages(*, message: Message, **_: Any) -> None:
    """The customer is told of an answer, and staff on their board of a question.

    Staff get no notification in a stream of their own. An order waits until any of them has answered, which is a state
    that the board reads after each connect; and what a customer has written is in no stream but the customer's.
    """
    order = message.order
    if message.side == Side.STAFF:
        body = {
            "order": snapshot(order),
            "note": preview(message.text),
            "message": {"id": message.pk, "side": str(message.side)},
        }
        stream.append(
            [stream.Event(user_id=order.customer_id, kind=Kind.ORDER_MESSAGE, at=message.written_at, body=body)]
        )
    elif (uid := stream.uid_of(order.customer_id)) is not None:
        # To the other windows of the customer: no news, and so no notification.
        fields = message_fields(
            number=order.number,
            key=message.pk,
            side=message.side,
            at=message.written_at,
            client_id=message.client_id,
        )
        publish.on_commit(publish.Aside(order.customer_id, uid, "message", fields))
    publish.on_commit(publish.Touched(BOARD, [f"{CONVERSATION}{order.number}"]))


def preview(text: str) -> str:
    """The beginning of a message, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= PREVIEW else f"{line[: PREVIEW - 1]}…"


@receiver(customers_created)
def give_streams(*, users: list[Any], **_: Any) -> None:
    """As `notifications.log.beginnings` does for users who are saved."""
    stream.positions([user.pk for user in users])


@receiver(stream.restarted)
def begin_positions_anew(**_: Any) -> None:
    """After a backup was restored, positions among the changes of orders mean as little as those in the streams."""
    positions.begin_anew(Order.objects.all())


def _event(news: News) -> stream.Event:
    """To the order's customer: the order as it is now, whole, the note, and what else its kind tells."""
    body = {"order": snapshot(news.order), "note": news.note}
    if news.what is What.UPDATED:
        body["changed"] = list(news.changed)
    return stream.Event(user_id=news.order.customer_id, kind=KINDS[news.what], at=news.at, body=body)
