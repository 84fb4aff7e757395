"""An order to begin with."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils import timezone

from orders import services
from orders.models import Order, StatusChange
from orders.positions import count_write


@pytest.fixture
def order(alice: User) -> Order:
    """Alice's, placed an hour ago and still pending."""
    return make_order()


def make_order(number: str = "SO-1", customer: str = "alice", **fields: Any) -> Order:
    placed_at = timezone.now() - timedelta(hours=1)
    return services.create_order(number=number, customer=customer, **{"placed_at": placed_at, **fields})


def make_many(orders: list[Order]) -> None:
    """As they are, in one statement and without a history."""
    count_write()
    rows: QuerySet[Order] = QuerySet(Order)
    rows.bulk_create(orders)


def newest_change(order: Order) -> StatusChange:
    """The last entry of the order's history."""
    return order.history.order_by("-pk")[0]
