"""Orders: what the API takes of them and how it is checked, and what it gives; `filters` has the query of a list.

An order is always given as `orders.selectors.snapshot` has it, as every frame does. Rendered field by field it would
cost as much as reading it from the database; the fields of such a serializer are its description.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cached_property
from itertools import islice
from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.validators import RegexValidator
from django.utils.datastructures import MultiValueDict
from rest_framework import serializers
from rest_framework.fields import SkipField, get_error_detail

from api.fields import Amount, Clearable, Flag, Moment, Number, Quantity, Text, UserName, WebAddress
from orders.lifecycle import Status
from orders.models import Order, StatusChange
from orders.money import MAX_DECIMALS, MAX_DIGITS
from orders.selectors import snapshot
from orders.services import Outcome
from orders.shapes import MAX_ITEMS, MAX_METADATA, MAX_NAME, MAX_SKU
from orders.upsert import Put, Result

#: Unknown fields that are told of.
MAX_UNKNOWN = 50


class StrictSerializer(serializers.Serializer):
    """Refuses fields that it does not know: to ignore a misspelt field is to lose a change without a word."""

    unknown = serializers.ErrorDetail("This field is not known.", code="unknown_field")

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)  # complains
        if isinstance(data, dict) and not isinstance(data, MultiValueDict):
            return self._of_object(data)
        errors: dict[str, Any] = {}
        known = {name for name, field in self.fields.items() if not field.read_only}
        for name in islice((name for name in data if name not in known), MAX_UNKNOWN):
            errors[name] = [self.unknown]
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            errors |= dict(error.detail)  # type: ignore[arg-type]  # a serializer's is by field
        if errors:
            raise serializers.ValidationError(errors)
        return value

    @cached_property
    def _expected(self) -> dict[str, tuple[serializers.Field, Callable[[Any], Any] | None]]:
        """The fields that are taken, each with its `validate_` method."""
        taken = (field for field in self.fields.values() if not field.read_only)
        return {str(field.field_name): (field, getattr(self, f"validate_{field.field_name}", None)) for field in taken}

    def _of_object(self, data: dict[str, Any]) -> dict[str, Any]:
        """As REST framework's `to_internal_value`, for a body: in half the time, which counts for a thousand lines."""
        expected = self._expected
        unknown = islice((name for name in data if name not in expected), MAX_UNKNOWN)
        errors: dict[str, Any] = {name: [self.unknown] for name in unknown}
        found: dict[str, Any] = {}
        for name, (field, check) in expected.items():
            if name not in data and not field.required and field.default is serializers.empty:
                continue
            try:
                value = field.run_validation(data.get(name, serializers.empty))
                found[field.source or name] = check(value) if check else value
            except serializers.ValidationError as error:
                errors[name] = error.detail
            except DjangoValidationError as error:
                errors[name] = get_error_detail(error)
            except SkipField:
                pass
        if errors:
            raise serializers.ValidationError(errors)
        return found

    def run_validators(self, value: Any) -> None:
        """Ours have no validators of their own as a rule, and REST framework would copy all values for them."""
        if self.validators:
            super().run_validators(value)


class ItemSerializer(StrictSerializer):
    """One line of an order."""

    sku = Text(max_length=MAX_SKU, allow_blank=True, allow_null=True, required=False)
    name = Text(max_length=MAX_NAME)
    quantity = Quantity()

    def to_internal_value(self, data: Any) -> Any:
        """An `sku` that is null is one that is absent."""
        return {name: value for name, value in super().to_internal_value(data).items() if value is not None}


class Items(serializers.ListSerializer):
    """The lines of an order; null for none."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return super().run_validation([] if data is None else data)


class Metadata(serializers.DictField):
    """An object; null for an empty one."""

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        return (True, {}) if data is None else super().validate_empty_values(data)


class OrderFieldsSerializer(StrictSerializer):
    """The fields that creating and changing an order have in common."""

    placed_at = Moment(required=False)
    carrier = Clearable(max_length=64)
    tracking_number = Clearable(max_length=64)
    tracking_url = WebAddress(max_length=500)
    estimated_delivery = serializers.DateField(allow_null=True, required=False)
    currency = Clearable(validators=[RegexValidator(r"\A[A-Z]{3}\Z", "An ISO 4217 code, such as EUR.")])
    total = Amount(
        max_digits=MAX_DIGITS, decimal_places=MAX_DECIMALS, min_value=Decimal(0), allow_null=True, required=False
    )
    items = Items(child=ItemSerializer(), max_length=MAX_ITEMS, allow_null=True, required=False)
    metadata = Metadata(allow_null=True, required=False, help_text="Names and values of the caller's own.")
    status = serializers.ChoiceField(choices=Status.choices, required=False)
    notify = Flag(required=False, help_text="With false the customer's stream does not get this change.")

    def validate_metadata(self, value: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(value, ensure_ascii=False)) > MAX_METADATA:
            raise serializers.ValidationError(f"Metadata is more than {MAX_METADATA:,} characters.", code="max_length")
        return value


class NewOrderSerializer(OrderFieldsSerializer):
    """A POST. The order may be on its way."""

    occurred_at = Moment(required=False, help_text="Since when it has had its `status`, if not since `placed_at`.")

    number = Number()
    customer = UserName()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return with_a_status(attrs, "occurred_at")


def with_a_status(attrs: dict[str, Any], *names: str) -> dict[str, Any]:
    """Refuse these fields without a status: there is no entry in the history that could keep them."""
    if lost := {} if "status" in attrs else attrs.keys() & set(names):
        message = "This field belongs to a status, and none is given."
        raise serializers.ValidationError({name: [message] for name in lost}, code="without_status")
    return attrs


class OrderUpdateSerializer(OrderFieldsSerializer):
    """A PATCH: any of the fields, and with `status` what is to be known of the change."""

    number = Number(required=False, help_text="The one in the address, if any.")
    customer = UserName(required=False, help_text="The order's own, if any: it does not change.")

    occurred_at = Moment(
        required=False, help_text="When it happened, if not now: news that come late find their place."
    )
    note = Clearable(max_length=500, help_text="Shown to the customer.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return with_a_status(attrs, "occurred_at", "note")


class PutOrderSerializer(OrderUpdateSerializer):
    """A PUT: the order as another system has it. What is absent stays as it is."""

    customer = UserName(required=False, help_text="A new order needs it; of one that is there it does not change.")


class OrderSerializer(serializers.Serializer):
    """An order."""

    number = serializers.CharField()
    customer = serializers.CharField(help_text="A user name.")
    status = serializers.ChoiceField(choices=Status.choices)
    version = serializers.IntegerField(min_value=1, help_text="Rises by one with every change; the ETag.")
    status_since = Moment()
    placed_at = Moment()
    carrier = serializers.CharField(allow_blank=True)
    tracking_number = serializers.CharField(allow_blank=True)
    tracking_url = serializers.CharField(allow_blank=True)
    estimated_delivery = serializers.DateField(allow_null=True)
    currency = serializers.CharField(allow_blank=True)
    total = serializers.CharField(allow_null=True, help_text="A decimal string, such as 41.80.")
    items = ItemSerializer(many=True)
    metadata = serializers.DictField()
    updated_at = Moment(help_text="When it last changed.")

    def to_representation(self, instance: Order) -> dict[str, Any]:
        return snapshot(instance)


class ChangedOrderSerializer(OrderSerializer):
    """An order after an update."""

    applied = serializers.BooleanField(
        help_text="Whether the status is a step of the order's story; false if it is late, or was known."
    )
    ignored = serializers.ListField(
        child=serializers.CharField(), help_text="Fields of late news that were not applied: others are newer."
    )

    def to_representation(self, instance: Outcome) -> dict[str, Any]:  # type: ignore[override]
        return {**snapshot(instance.order), "applied": instance.applied, "ignored": list(instance.ignored)}


class PutResultSerializer(OrderSerializer):
    """An order after a PUT."""

    result = serializers.ChoiceField(choices=[one.value for one in Result])
    ignored = serializers.ListField(
        child=serializers.CharField(),
        help_text="`status`, if it is late; `note`, if no step was there to tell it with.",
    )

    def to_representation(self, instance: Put) -> dict[str, Any]:  # type: ignore[override]
        if instance.order is None:
            raise ValueError("The order has to be read first.")
        return {**snapshot(instance.order), "result": str(instance.result), "ignored": list(instance.ignored)}


class StatusChangeSerializer(serializers.Serializer):
    """One entry of an order's history."""

    from_status = serializers.ChoiceField(choices=Status.choices, allow_null=True)
    to_status = serializers.ChoiceField(choices=Status.choices)
    applied = serializers.BooleanField()
    occurred_at = Moment()
    recorded_at = Moment()
    note = serializers.CharField(allow_blank=True)

    def to_representation(self, instance: StatusChange) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        return {**shown, "from_status": shown["from_status"] or None}
