"""What a list of orders can be narrowed to. An unknown filter is refused: it would widen the answer silently."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import QueryDict
from rest_framework import serializers

from api.fields import Moment, Text, UserName
from api.serializers import StrictSerializer
from orders.conversation import waiting
from orders.lifecycle import Status
from orders.models import Order

#: Orders that one call names: their numbers have to fit into a URL.
MAX_NUMBERS = 100
#: Parameters that `paging` reads and checks.
OF_PAGES = ("cursor", "limit")
LOOKUPS = {
    "number": "number__in",
    "status": "status__in",
    "customer": f"customer__{get_user_model().USERNAME_FIELD}",
    "updated_since": "updated_at__gte",
}


class OrderQuery(StrictSerializer):
    """`?status=shipped&status=delivered&customer=alice&updated_since=2026-03-01T12:00:00Z`."""

    unknown = serializers.ErrorDetail("This parameter is not known.", code="unknown_parameter")

    number = serializers.ListField(
        child=Text(max_length=64), max_length=MAX_NUMBERS, required=False, help_text="Orders with these numbers."
    )
    status = serializers.MultipleChoiceField(choices=Status.choices, required=False, help_text="Any of these statuses.")
    customer = UserName(required=False, help_text="Orders of the customer with this user name.")
    updated_since = Moment(
        required=False,
        help_text="Orders that changed at or after this time. A change shows up when it commits, a moment after its "
        "time: a system that polls takes the time of its last call less a minute, or `order_by=updated`.",
    )
    order_by = serializers.ChoiceField(
        choices=["placed", "updated"],
        required=False,
        help_text="`placed`, newest first, unless told; `updated`: in the order of their changes, with a `position`.",
    )
    waiting = serializers.ChoiceField(
        choices=("true", "false"), required=False, help_text="Whether the customer waits for an answer to a message."
    )


def refuse_blanks(query: QueryDict) -> None:
    """Raise `ValidationError` for a parameter without a value, which REST framework takes for one that is absent."""
    if blank := [name for name, values in query.lists() if not all(map(str.strip, values))]:
        raise serializers.ValidationError({name: ["This parameter has no value."] for name in blank}, code="blank")


def narrowed(orders: QuerySet[Order], query: QueryDict) -> QuerySet[Order]:
    """Those of the orders that the query asks for. Raises `ValidationError`, also for a parameter without a value."""
    refuse_blanks(query)
    given = query.copy()
    for name in OF_PAGES:
        given.pop(name, None)
    asked = OrderQuery(data=given)
    asked.is_valid(raise_exception=True)
    conditions = dict(asked.validated_data)
    if waits := conditions.pop("waiting", None):
        orders = waiting(orders, answered=waits == "false")
    return orders.filter(**{lookup: value for name, lookup in LOOKUPS.items() if (value := conditions.get(name))})
