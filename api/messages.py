"""`/orders/{number}/messages`: the conversation about an order over HTTP.

Reads and writes by `orders.conversation`, which decides who takes part; `views` has the route. An author of the staff's
is named to staff alone: customers are told that the shop answered, not who of it did.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from api.fields import Moment, Text
from api.key_pages import MessagePages
from api.serializers import StrictSerializer
from orders import conversation
from orders.messages import MAX_CLIENT_ID, MAX_TEXT, Message, Side
from orders.models import Order
from orders.selectors import rfc3339


@extend_schema_field({"type": "string", "maxLength": MAX_CLIENT_ID, "pattern": "^[ -~]+$"})
class ClientId(Text):
    """Printable ASCII."""


class NewMessageSerializer(StrictSerializer):
    """A POST."""

    text = Text(max_length=MAX_TEXT, help_text="What the customer and the staff read; line breaks are kept.")
    client_id = ClientId(
        max_length=MAX_CLIENT_ID,
        trim_whitespace=False,
        required=False,
        help_text="The caller's own id for the message, in printable ASCII: sent again with it, it is kept once.",
    )

    def validate_client_id(self, value: str) -> str:
        try:
            return conversation.checked_id(value)
        except conversation.BadMessage as error:
            raise serializers.ValidationError(str(error), code=error.code) from None


class MessageSerializer(serializers.Serializer):
    """One message of a conversation. The context has the `user` who reads."""

    id = serializers.IntegerField(min_value=1, help_text="Grows with each message.")
    order = serializers.CharField(help_text="The order's number.")
    side = serializers.ChoiceField(choices=Side.choices, help_text="Which of the two wrote it.")
    author = serializers.CharField(
        allow_null=True, help_text="A user name; null for staff where a customer reads, and for a user who is gone."
    )
    text = serializers.CharField()
    written_at = Moment()
    client_id = serializers.CharField(allow_null=True, help_text="What the caller gave for it; null for others'.")

    def to_representation(self, instance: Message) -> dict[str, Any]:
        user = self.context["user"]
        named = instance.author is not None and (
            instance.side == Side.CUSTOMER or conversation.side_of(user, instance.order) == Side.STAFF
        )
        return {
            "id": instance.pk,
            "order": instance.order.number,
            "side": str(instance.side),
            "author": instance.author.get_username() if named and instance.author else None,
            "text": instance.text,
            "written_at": rfc3339(instance.written_at),
            "client_id": (instance.client_id or None) if instance.author_id == user.pk else None,
        }


def read(request: Request, order: Order) -> Response:
    """A page of the conversation."""
    pages = MessagePages()
    page = pages.paginate_queryset(conversation.messages_of(order), request)
    return pages.get_paginated_response(MessageSerializer(page, many=True, context={"user": request.user}).data)


def write(request: Request, order: Order) -> Response:
    """Keep a message: 201, or 200 with the one that is kept already. Raises what `conversation.write` does."""
    new = NewMessageSerializer(data=request.data)
    new.is_valid(raise_exception=True)
    written = conversation.write(order=order, author=request.user, **new.validated_data)
    shown = MessageSerializer(written.message, context={"user": request.user})
    return Response(shown.data, status=HTTPStatus.OK if written.again else HTTPStatus.CREATED)
