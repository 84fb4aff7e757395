"""The conversation about an order: who may take part, writing, reading, and erasing what was said.

Called by the API, the pages and the socket's frames, which all get the same answers here. Two sides speak: the order's
customer, and staff with `orders.reply_to_order` who may see the order. Whoever is neither takes part in nothing, and is
told as little as of an order that does not exist. Nothing here knows the receivers of `message_written`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from orders.messages import MAX_CLIENT_ID, MAX_TEXT, Conversation, Message, Side
from orders.models import Order
from orders.selectors import order_visible_to
from orders.services import OrderError
from orders.shapes import FORBIDDEN
from orders.signals import message_written

#: What staff need to read conversations and to write in them, beside `orders.view_order`.
REPLY = "orders.reply_to_order"
#: Messages of one author within `RATE_SECONDS`, about whichever orders. A person who types fast sends ten a minute; the
#: staff's limit is that of a help desk whose people all write by one account.
RATE = {Side.CUSTOMER: 20, Side.STAFF: 120}
RATE_SECONDS = 60


class BadMessage(OrderError):
    """The text, or the client's id of it, is nothing that can be kept; `code` says why."""

    def __init__(self, code: str, detail: str, *, field: str = "text") -> None:
        self.code = code
        self.field = field
        super().__init__(detail)


class ClientIdReused(OrderError):
    """One id for two messages: one of them would never be kept."""

    code = "client_id_reused"


class TooManyMessages(OrderError):
    """The author has written as much as anybody may for now; in `wait` seconds there is room for one more."""

    code = "throttled"

    def __init__(self, wait: float) -> None:
        self.wait = wait
        super().__init__(f"Too many messages. Try again in {max(1, ceil(wait))} s.")


@dataclass(frozen=True, slots=True)
class Written:
    """A message as it is kept; `again` if it had been kept before, for the same client's id."""

    message: Message
    again: bool


def order_numbered(number: str, user: Any) -> Order:
    """The order, for somebody who may see it. Raises `Order.DoesNotExist`, also for somebody else's."""
    return order_visible_to(user, number)


def side_of(user: Any, order: Order) -> Side | None:
    """Which side of the conversation the user speaks for; None: the user takes no part.

    A member of staff who has ordered something is the customer of that order.
    """
    if not user.is_active:
        return None
    if order.customer_id == user.pk:
        return Side.CUSTOMER
    return Side.STAFF if user.has_perm("orders.view_order") and user.has_perm(REPLY) else None


def checked(text: str) -> str:
    """The text without the blanks around it. Raises `BadMessage`; its length is looked at before anything else."""
    if len(text) > MAX_TEXT:
        raise BadMessage("max_length", f"A message has at most {MAX_TEXT:,} characters.")
    if FORBIDDEN.search(text):
        raise BadMessage("control_character", "Control characters are not allowed.")
    text = text.strip()
    if not text:
        raise BadMessage("blank", "A message needs a text.")
    return text


def checked_id(client_id: str) -> str:
    """Raises `BadMessage` for an id that is too long, or not printable ASCII. Empty is none."""
    if len(client_id) > MAX_CLIENT_ID or not (client_id.isascii() and client_id.isprintable()):
        raise BadMessage("invalid", f"An id has at most {MAX_CLIENT_ID} printable ASCII characters.", field="client_id")
    return client_id


@transaction.atomic
def write(*, order: Order, author: Any, text: str, client_id: str = "") -> Written:
    """Keep a message of the author's about the order. The same `client_id` again gives the message that was kept.

    Raises `BadMessage`, `ClientIdReused`, `TooManyMessages`, and `Order.DoesNotExist` where the author takes no part
    in the conversation, or the order is gone.
    """
    text, client_id = checked(text), checked_id(client_id)
    # Messages about one order take turns, so that their keys are in the order of the commits, and of two requests with
    # one id the second finds what the first has kept.
    locked = Order.objects.select_related("customer").select_for_update(of=("self",), no_key=True).get(pk=order.pk)
    side = side_of(author, locked)
    if side is None:
        raise Order.DoesNotExist
    known = Message.objects.filter(order=locked, author=author, client_id=client_id).first() if client_id else None
    if known is not None:
        if known.text != text:
            raise ClientIdReused("This client_id belongs to another message. Use a new one for each message.")
        return Written(known, again=True)
    now = timezone.now()
    _keep_to_the_rate(author, side, now)
    message = Message.objects.create(
        order=locked, author=author, side=side, text=text, written_at=now, client_id=client_id
    )
    _go_on(message)
    message_written.send(sender=Message, message=message)
    return Written(message, again=False)


def _keep_to_the_rate(author: Any, side: Side, now: datetime) -> None:
    """Raises `TooManyMessages`. Counted in the rows, so that it holds for all processes and all ways of writing."""
    window = timedelta(seconds=RATE_SECONDS)
    lately = Message.objects.filter(author=author, written_at__gt=now - window).order_by("-written_at")
    limit = RATE[side]
    oldest = lately.values_list("written_at", flat=True)[limit - 1 : limit].first()
    if oldest is not None:
        raise TooManyMessages((oldest + window - now).total_seconds())


def _go_on(message: Message) -> None:
    """Bring the conversation's row up to its newest message."""
    state = {"last_message": message.pk, "last_side": message.side, "last_at": message.written_at}
    before = Conversation.objects.filter(pk=message.order_id).first()
    waiting_since = None
    if message.side == Side.CUSTOMER:
        waiting_since = (before and before.waiting_since) or message.written_at
    Conversation.objects.update_or_create(pk=message.order_id, defaults={**state, "waiting_since": waiting_since})


def messages_of(order: Order) -> QuerySet[Message]:
    """The messages about the order, newest first."""
    return Message.objects.select_related("author", "order").filter(order=order).order_by("-pk")


def waiting(orders: QuerySet[Order], *, answered: bool = False) -> QuerySet[Order]:
    """Those of the orders whose customer waits for an answer; with `answered` all others."""
    return orders.filter(conversation__waiting_since__isnull=answered)


def conversations_since(moment: datetime) -> QuerySet[Conversation]:
    """Conversations that went on at or after a moment."""
    return Conversation.objects.filter(last_at__gte=moment)


def conversations_about(numbers: Any) -> QuerySet[Conversation]:
    """The conversations about the orders with these numbers, each with its order."""
    return Conversation.objects.select_related("order").filter(order__number__in=numbers)


@transaction.atomic
def forget(user: Any) -> int:
    """Erase the conversations about the user's orders, the staff's part included: it speaks to the user by name.

    Gives the number of messages. What the user wrote as staff about other people's orders stays, without its author.
    Notifications of messages are in the user's own stream alone, and go with it.
    """
    Conversation.objects.filter(order__customer=user).delete()
    erased, _ = Message.objects.filter(order__customer=user).delete()
    Message.objects.filter(author=user).update(author=None)
    return erased
