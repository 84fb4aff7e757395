"""`/orders/{number}/messages`: the conversation about an order over HTTP.

Reads and writes by `orders.conversation`, which decides who takes part; `views` has the route. An author of the staff's
is named to staff alone: customers are told that the shop answered, not who of it did.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, NamedTuple

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from api.fields import Moment, Text
from api.filters import OF_PAGES, refuse_blanks
from api.paging import MAX_KEY, OrderPages
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


class Cursor(NamedTuple):
    """A page begins beyond the message with this key, towards newer ones with `back`."""

    key: int
    back: bool

    def written(self) -> str:
        """As it stands in a URL: opaque."""
        return f"{'a' if self.back else 'b'}{self.key}"

    @classmethod
    def read(cls, text: str) -> Cursor:
        """What `written` gave; raises ValueError for anything else."""
        found = re.fullmatch(r"([ab])([0-9]{1,19})", text, re.ASCII)
        if found is None or int(found[2]) > MAX_KEY:
            raise ValueError("This is not a cursor.")
        return cls(int(found[2]), found[1] == "a")


class MessagePages(OrderPages):
    """Newest first. A page stays where it is while messages are added: its cursor is the key of a message."""

    page_size_query_description = "Messages on a page, 50 unless told, 200 at most."

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        refuse_blanks(request.query_params)
        if unknown := [name for name in request.query_params if name not in OF_PAGES][:50]:
            raise serializers.ValidationError(
                {name: ["This parameter is not known."] for name in unknown}, code="unknown_parameter"
            )
        size = self.get_page_size(request)
        cursor = self.read_cursor(request)
        self._url = request.build_absolute_uri()
        self._next = self._previous = None
        if cursor is None or not cursor.back:
            older = queryset if cursor is None else queryset.filter(pk__lt=cursor.key)
            found = list(older.order_by("-pk")[: size + 1])
            page = found[:size]
            if len(found) > size:
                self._next = Cursor(page[-1].pk, back=False)
            if cursor is not None:
                self._previous = Cursor(page[0].pk if page else max(0, cursor.key - 1), back=True)
            return page
        found = list(queryset.filter(pk__gt=cursor.key).order_by("pk")[: size + 1])
        page = found[size - 1 :: -1] if len(found) > size else found[::-1]
        self._next = Cursor(page[-1].pk if page else min(MAX_KEY, cursor.key + 1), back=False)
        if len(found) > size:
            self._previous = Cursor(page[0].pk, back=True)
        return page

    def read_cursor(self, request: Request) -> Cursor | None:  # type: ignore[override]
        given = request.query_params.get(self.cursor_query_param)
        if given is None:
            return None
        try:
            return Cursor.read(given)
        except ValueError:
            raise serializers.ValidationError({"cursor": ["This is not a cursor of ours."]}, code="invalid") from None


class HistoryPages(MessagePages):
    """Of the history of an order, whose entries come one after the other as messages do."""

    page_size_query_description = "Entries on a page, 50 unless told, 200 at most."


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
