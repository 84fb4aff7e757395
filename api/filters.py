"""What a list of orders can be narrowed to. An unknown filter is refused: it would widen the answer silently."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import django_filters
from django import forms
from django.utils import timezone
from django_filters.fields import IsoDateTimeField
from django_filters.rest_framework import DjangoFilterBackend, FilterSet
from rest_framework import serializers
from rest_framework.request import Request

from orders.lifecycle import Status
from orders.models import Order


class MomentFormField(IsoDateTimeField):
    """`fields.Moment`, for a query parameter."""

    def strptime(self, value: str, format: str) -> datetime:  # noqa: A002 -- Django's name for it
        moment: datetime = super().strptime(value, format)
        return moment

    def to_python(self, value: Any) -> datetime | None:
        if value in self.empty_values:
            return None
        try:
            moment = datetime.fromisoformat(value)
            if timezone.is_naive(moment):
                raise forms.ValidationError("The time has no zone; end it with Z or an offset.", code="no_zone")
            # Years that no zone's offset may leave.
            return moment.astimezone(timezone.get_current_timezone())
        except (ValueError, OverflowError):
            raise forms.ValidationError("Enter an RFC 3339 time with its zone.", code="invalid") from None


class MomentFilter(django_filters.Filter):
    """Compares with a time that has its zone."""

    field_class = MomentFormField


class OrderFilter(FilterSet):
    """`?status=shipped&status=delivered&customer=alice&updated_since=2026-03-01T12:00:00Z`."""

    status = django_filters.MultipleChoiceFilter(choices=Status.choices, label="Any of these statuses.")
    customer = django_filters.CharFilter(
        field_name="customer__username", max_length=150, label="Orders of the customer with this user name."
    )
    updated_since = MomentFilter(
        field_name="updated_at",
        lookup_expr="gte",
        label="Orders that changed at or after this time. A change shows up when it commits, a moment after its "
        "time: a system that polls takes the time of its last call less a minute.",
    )

    class Meta:
        model = Order
        fields = ()


class StrictFilterBackend(DjangoFilterBackend):
    """django-filter's, for views with a `filterset_class`.

    Refuses parameters that nothing here reads, and those without a value: django-filter ignores them.
    """

    def filter_queryset(self, request: Request, queryset: Any, view: Any) -> Any:
        known = set(view.filterset_class.base_filters) | {"cursor", "limit"}
        if unknown := [name for name in request.query_params if name not in known]:
            raise serializers.ValidationError(
                {name: ["This parameter is not known."] for name in unknown}, code="unknown_parameter"
            )
        if blank := [name for name, values in request.query_params.lists() if not all(map(str.strip, values))]:
            raise serializers.ValidationError({name: ["This parameter has no value."] for name in blank}, code="blank")
        return super().filter_queryset(request, queryset, view)
