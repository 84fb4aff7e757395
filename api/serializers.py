"""What the API takes and how it is checked. What it gives is `orders.selectors.snapshot`, as every frame does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from rest_framework import serializers

from api.fields import Amount, Digits, Flag, Moment, Text, UserName, WebAddress, Whole
from notifications.log import stream
from notifications.protocol import MAX_SEQ
from orders.lifecycle import Status
from orders.models import Order, StatusChange
from orders.selectors import rfc3339, snapshot

#: An order travels whole in every notification of it, so what it may hold is what a phone should have to load: with
#: these bounds at most some 70 KB, commonly one.
MAX_ITEMS = 200
MAX_METADATA = 8_000
#: Last parts of URLs below /orders that are not orders.
RESERVED_NUMBERS = frozenset({"batch"})


class StrictSerializer(serializers.Serializer):
    """Refuses fields that it does not know: to ignore a misspelt field is to lose a change without a word."""

    unknown = serializers.ErrorDetail("This field is not known.", code="unknown_field")

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)  # complains
        errors: dict[str, Any] = {}
        known = {name for name, field in self.fields.items() if not field.read_only}
        for name in data.keys() - known:
            errors[name] = [self.unknown]
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            errors |= dict(error.detail)  # type: ignore[arg-type]  # a serializer's is by field
        if errors:
            raise serializers.ValidationError(errors)
        return value


class ItemSerializer(StrictSerializer):
    """One line of an order."""

    sku = Text(max_length=64)
    name = Text(max_length=200)
    quantity = Whole(min_value=1, max_value=1_000_000)


class OrderFieldsSerializer(StrictSerializer):
    """The fields that creating and changing an order have in common."""

    placed_at = Moment(required=False)
    carrier = Text(max_length=64, allow_blank=True, required=False)
    tracking_number = Text(max_length=64, allow_blank=True, required=False)
    tracking_url = WebAddress(max_length=500, allow_blank=True, required=False)
    estimated_delivery = serializers.DateField(allow_null=True, required=False)
    currency = serializers.RegexField(r"\A[A-Z]{3}\Z", allow_blank=True, required=False)
    total = Amount(max_digits=12, decimal_places=2, min_value=Decimal(0), allow_null=True, required=False)
    items = ItemSerializer(many=True, max_length=MAX_ITEMS, required=False)  # type: ignore[call-arg]
    metadata = serializers.DictField(required=False, help_text="Names and values of the caller's own.")
    status = serializers.ChoiceField(choices=Status.choices, required=False)
    notify = Flag(required=False, help_text="With false the customer's stream does not get this change.")

    def validate_metadata(self, value: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(value, ensure_ascii=False)) > MAX_METADATA:
            raise serializers.ValidationError(f"Metadata is more than {MAX_METADATA:,} characters.", code="max_length")
        return value


def not_reserved(number: str) -> None:
    """Refuse what `/orders/{number}` could not address."""
    if number in RESERVED_NUMBERS:
        raise serializers.ValidationError("This number is an address of the API.", code="reserved")


class NewOrderSerializer(OrderFieldsSerializer):
    """A POST."""

    number = Text(max_length=64, validators=[*Order._meta.get_field("number").validators, not_reserved])
    customer = UserName(max_length=150, validators=[*get_user_model()._meta.get_field("username").validators])


class OrderUpdateSerializer(OrderFieldsSerializer):
    """A PATCH: any of the fields, and with `status` what is to be known of the change."""

    occurred_at = Moment(required=False, help_text="When it happened: an update that is late is kept and not applied.")
    note = Text(max_length=500, allow_blank=True, required=False, help_text="Shown to the customer.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Without a status there is no entry in the history that could keep what is to be known of it."""
        if lost := {} if "status" in attrs else attrs.keys() & {"occurred_at", "note"}:
            message = "This field belongs to a status, and none is given."
            raise serializers.ValidationError({name: [message] for name in lost}, code="without_status")
        return attrs


class OrderSerializer(serializers.Serializer):
    """An order as the API gives it: `orders.selectors.snapshot`, described for the schema."""

    number = serializers.CharField()
    customer = serializers.CharField(help_text="A user name.")
    status = serializers.ChoiceField(choices=Status.choices)
    version = serializers.IntegerField(min_value=1, help_text="Rises by one with every change; the ETag.")
    status_since = serializers.DateTimeField()
    placed_at = serializers.DateTimeField()
    carrier = serializers.CharField(allow_blank=True)
    tracking_number = serializers.CharField(allow_blank=True)
    tracking_url = serializers.CharField(allow_blank=True)
    estimated_delivery = serializers.DateField(allow_null=True)
    currency = serializers.CharField(allow_blank=True)
    total = serializers.CharField(allow_null=True, help_text="A decimal string, such as 41.80.")
    items = ItemSerializer(many=True)
    metadata = serializers.DictField()

    def to_representation(self, instance: Order) -> dict[str, Any]:
        return snapshot(instance)


class StatusChangeSerializer(serializers.Serializer):
    """One entry of an order's history."""

    def to_representation(self, instance: StatusChange) -> dict[str, Any]:
        return {
            "from_status": instance.from_status or None,
            "to_status": instance.to_status,
            "applied": instance.applied,
            "occurred_at": rfc3339(instance.occurred_at),
            "recorded_at": rfc3339(instance.recorded_at),
            "note": instance.note,
        }


class NotificationQuery(StrictSerializer):
    """The query of `/notifications`. `wait` and `stream` are read before, by `notifications.sockets.streaming`."""

    unknown = serializers.ErrorDetail("This parameter is not known.", code="unknown_parameter")

    after = Digits(min_value=0, max_value=MAX_SEQ, default=0, help_text="The last number that the caller holds.")
    limit = Digits(min_value=1, max_value=stream.PAGE, default=100)
    wait = serializers.FloatField(
        min_value=0, required=False, help_text="Seconds to wait, 25 at most, until there is something after `after`."
    )
    stream = serializers.CharField(required=False, help_text="The stream of `after`: no waiting for one that is gone.")


class ReadSerializer(StrictSerializer):
    """The body of `/notifications/read`."""

    up_to = Whole(min_value=0, max_value=MAX_SEQ, help_text="Everything up to this number of the stream is read.")


class TicketSerializer(StrictSerializer):
    """The body of `/tickets`."""

    customer = UserName(max_length=150, required=False, help_text="A user name; the caller's own if absent.")
