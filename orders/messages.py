"""The rows of the conversations about orders: what a customer and the staff have written to each other.

`conversation` writes, reads and erases them; nothing else does. An order has one conversation, which begins with its
first message.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from orders.shapes import have_a_year

#: Characters of a message: a page of text. Who needs more writes two.
MAX_TEXT = 2_000
#: Characters of the id that a client gives to a message: a UUID has 36.
MAX_CLIENT_ID = 64


class Side(models.TextChoices):
    """Who of the two speaks: the customer of the order, or anybody of the staff."""

    CUSTOMER = "customer"
    STAFF = "staff"


class Conversation(models.Model):
    """Where the conversation about an order stands; it has a row from its first message on."""

    order = models.OneToOneField("orders.Order", on_delete=models.CASCADE, primary_key=True)
    #: The primary key of the newest message: grows with each, so it is the conversation's version.
    last_message = models.PositiveBigIntegerField()
    last_side = models.CharField(max_length=8, choices=Side.choices)
    last_at = models.DateTimeField()
    #: When the customer wrote the first message that no staff has answered; null if nothing waits.
    waiting_since = models.DateTimeField(null=True)

    class Meta:
        # Nobody changes one by hand, so there are no permissions to hand out.
        default_permissions = ()
        indexes = (
            # What the board looks for: conversations that went on lately.
            models.Index(fields=("last_at",), name="conversation_last"),
            # Those that wait are few.
            models.Index(
                fields=("waiting_since",), name="conversation_waits", condition=Q(waiting_since__isnull=False)
            ),
        )
        constraints = (
            models.CheckConstraint(condition=Q(last_side__in=Side.values), name="conversation_side_is_known"),
            models.CheckConstraint(
                condition=Q(waiting_since__isnull=True, last_side=Side.STAFF)
                | Q(waiting_since__isnull=False, last_side=Side.CUSTOMER),
                name="conversation_waits_for_staff",
            ),
            models.CheckConstraint(condition=have_a_year("last_at"), name="conversation_times_have_a_year"),
        )

    def __str__(self) -> str:
        return f"{self.order_id}: up to {self.last_message}"


class Message(models.Model):
    """One message. Append-only; within an order the primary keys are in the order of the commits."""

    order = models.ForeignKey("orders.Order", on_delete=models.CASCADE, related_name="messages")
    author: Any = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    side = models.CharField(max_length=8, choices=Side.choices)
    text = models.CharField(max_length=MAX_TEXT)
    written_at = models.DateTimeField(default=timezone.now)
    #: The client's own id for it; empty if it gave none.
    client_id = models.CharField(max_length=MAX_CLIENT_ID, blank=True)

    class Meta:
        default_permissions = ()
        ordering = ("pk",)
        indexes = (
            # The pages of a conversation.
            models.Index(fields=("order", "-id"), name="message_by_order"),
            # How much somebody has written lately.
            models.Index(fields=("author", "written_at"), name="message_by_author"),
        )
        constraints = (
            models.CheckConstraint(condition=Q(side__in=Side.values), name="message_side_is_known"),
            models.CheckConstraint(condition=~Q(text=""), name="message_is_not_empty"),
            models.CheckConstraint(condition=have_a_year("written_at"), name="message_times_have_a_year"),
            models.UniqueConstraint(
                fields=("order", "author", "client_id"), condition=~Q(client_id=""), name="message_is_kept_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.order_id}: {self.side} at {self.written_at:%Y-%m-%d %H:%M}"
