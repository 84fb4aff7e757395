"""Every read of orders, visibility included: who may see what is decided here and nowhere else."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, User
from django.db import DEFAULT_DB_ALIAS
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from orders import customers, numbers
from orders.compiled import CompiledQuery
from orders.history import AS_IT_HAPPENED
from orders.lifecycle import CLOSED
from orders.models import Order, StatusChange
from orders.money import written
from orders.shapes import lines_of, link_of, object_of


def orders_visible_to(user: User | AnonymousUser) -> QuerySet[Order]:
    """All orders if the user has `orders.view_order`, otherwise the user's own; none if nobody is logged in."""
    orders = Order.objects.select_related("customer")
    if _may_see_all(user):
        return orders
    if user.is_authenticated and user.is_active:
        return orders.filter(customer=user.pk)
    return orders.none()


def order_visible_to(user: User | AnonymousUser, number: str) -> Order:
    """The one among `orders_visible_to` with that number. Raises `Order.DoesNotExist`.

    Each request for an order or its change begins with it, hence the compiled query. Of the customer it reads the name.
    """
    *columns, username = _ORDER.row(numbers.spelled(number)) or (None,)
    if columns:
        order = Order.from_db(DEFAULT_DB_ALIAS, _COLUMNS, columns)
        if _may_see_all(user) or (user.is_active and order.customer_id == user.pk):
            users = get_user_model()
            order.customer = users.from_db(
                DEFAULT_DB_ALIAS, [users._meta.pk.attname, users.USERNAME_FIELD], [order.customer_id, username]
            )
            return order
    raise Order.DoesNotExist(f"There is no order {number} that {user} may see.")


_COLUMNS = [field.attname for field in Order._meta.concrete_fields]
_ORDER = CompiledQuery(
    lambda: (
        Order.objects.order_by()
        .filter(number="")
        .values_list(*_COLUMNS, f"customer__{get_user_model().USERNAME_FIELD}")
    )
)


def _may_see_all(user: User | AnonymousUser) -> bool:
    return user.is_active and user.has_perm("orders.view_order")


def orders_of(user: User | AnonymousUser) -> QuerySet[Order]:
    """The user's own orders, newest first, whatever else the user may see."""
    return Order.objects.select_related("customer").filter(customer=user.pk)


def open_orders(orders: QuerySet[Order]) -> QuerySet[Order]:
    """Those of the orders for which somebody still waits."""
    return orders.exclude(status__in=CLOSED)


def orders_changed_since(moment: datetime) -> QuerySet[Order]:
    """Everybody's orders that were saved at or after a moment."""
    return Order.objects.filter(updated_at__gte=moment).order_by()


def orders_numbered(numbers: Collection[str]) -> QuerySet[Order]:
    """Everybody's orders with these numbers."""
    return Order.objects.select_related("customer").filter(number__in=numbers)


def orders_found(orders: QuerySet[Order], text: str) -> QuerySet[Order]:
    """Those of the orders whose number or customer contains the text, or whose tracking number it is."""
    number, name = numbers.spelled(text), customers.spelled(text)
    called = Q((f"customer__{get_user_model().USERNAME_FIELD}__icontains", name))
    return orders.filter(Q(number__icontains=number) | called | Q(tracking_number__iexact=text))


def history_of(order: Order) -> QuerySet[StatusChange]:
    """Every status change of the order, applied or not, in the order of their recording."""
    return order.history.all()


def timeline_of(order: Order) -> QuerySet[StatusChange]:
    """What became of the order, in the order in which it happened; without what repeated it or came too late."""
    return order.history.filter(applied=True).order_by(*AS_IT_HAPPENED)


def numbers_of_unrecorded_changes() -> list[str]:
    """Orders whose status is not the last that their history says was applied: it was changed past `save()`."""
    return list(
        Order.objects.annotate(recorded=_last_applied())
        .exclude(status=F("recorded"))
        .order_by("pk")
        .values_list("number", flat=True)
    )


def recorded_status(order: Order) -> str:
    """The status that the order's history ends with; empty if there is none."""
    return str(Order.objects.annotate(recorded=_last_applied()).values_list("recorded", flat=True).get(pk=order.pk))


def _last_applied() -> Coalesce:
    applied = StatusChange.objects.filter(order=OuterRef("pk"), applied=True).order_by(*AS_IT_HAPPENED).reverse()
    return Coalesce(Subquery(applied.values("to_status")[:1]), Value(""))


def snapshot(order: Order) -> dict[str, Any]:
    """The order as the world sees it, ready for JSON: the API's answer and what every notification carries.

    It is whole on purpose: one snapshot repairs everything that was missed before it. Times are RFC 3339 in UTC, the
    total is a decimal string, `estimated_delivery` is a date. What cannot be shown is left out (`shapes`).
    """
    return {
        "number": order.number,
        "customer": order.customer.get_username(),
        "status": str(order.status),
        "version": order.version,
        "status_since": rfc3339(order.status_since),
        "placed_at": rfc3339(order.placed_at),
        "carrier": order.carrier,
        "tracking_number": order.tracking_number,
        "tracking_url": link_of(order.tracking_url),
        "estimated_delivery": order.estimated_delivery.isoformat() if order.estimated_delivery else None,
        "currency": order.currency,
        "total": None if order.total is None else written(Decimal(order.total), order.currency),
        "items": lines_of(order.items),
        "metadata": object_of(order.metadata),
        "updated_at": rfc3339(order.updated_at),
    }


def rfc3339(moment: datetime) -> str:
    """`2026-03-01T12:00:00.000000Z`: always UTC, always microseconds, so that texts sort as times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
