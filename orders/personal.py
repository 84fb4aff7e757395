"""What the tables of orders keep of their customers; see `notifications.personal.tables`.

Orders stay for the shop's books: the number, what was ordered, what it cost, when what happened. What the customer can
be found by goes. Another table of orders is added here.
"""

from __future__ import annotations

from django.db.models import F
from django.utils import timezone

from notifications.personal.tables import Table, User, declare
from orders import conversation
from orders.models import Order, StatusChange


def _forget_orders(user: User) -> int:
    """They get a new version, since what the world sees of them is another."""
    theirs = Order.objects.filter(customer=user)
    # In the order of their keys, as `bulk` locks them: otherwise the two could wait for each other.
    list(theirs.select_for_update(no_key=True).order_by("pk").values_list("pk"))
    return theirs.exclude(tracking_number="", tracking_url="", metadata={}).update(
        tracking_number="", tracking_url="", metadata={}, version=F("version") + 1, updated_at=timezone.now()
    )


def _forget_notes(user: User) -> int:
    return StatusChange.objects.filter(order__customer=user).exclude(note="").update(note="")


declare(
    Table(
        model="orders.Message",
        title="messages",
        rows="order__customer",
        personal=("text", "client_id"),
        impersonal=("side",),
        # With the conversations, the staff's part included.
        forget=conversation.forget,
    ),
    Table(model="orders.Conversation", title="conversations", rows="order__customer", impersonal=("last_side",)),
    Table(model="orders.Numbering", impersonal=("uid",)),
    # What the name is alike to; it follows the name.
    Table(model="orders.CustomerName", rows="user", personal=("likeness",)),
    Table(
        model="orders.StatusChange",
        title="order_history",
        rows="order__customer",
        personal=("note",),
        impersonal=("from_status", "to_status"),
        forget=_forget_notes,
    ),
    # The last one, and so the first that is forgotten: whoever changes an order locks it before anything else.
    Table(
        model="orders.Order",
        title="orders",
        rows="customer",
        personal=("tracking_number", "tracking_url", "metadata"),
        impersonal=("number", "status", "carrier", "currency", "items"),
        forget=_forget_orders,
    ),
)
