"""Who sees which orders, and how they look."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from django.contrib.auth.models import AnonymousUser, User

from orders import services
from orders.models import Order
from orders.selectors import history_of, orders_visible_to, rfc3339, snapshot
from tests.orders.conftest import make_order


@pytest.fixture
def two_orders(alice: User, bob: User) -> None:
    make_order("SO-1", "alice")
    make_order("SO-2", "bob")


def numbers(user: User | AnonymousUser) -> set[str]:
    return {order.number for order in orders_visible_to(user)}


def test_a_customer_sees_their_own_orders_only(two_orders: None, alice: User, bob: User):
    assert numbers(alice) == {"SO-1"}
    assert numbers(bob) == {"SO-2"}


def test_staff_with_the_permission_sees_all(two_orders: None, staff: User):
    assert numbers(staff) == {"SO-1", "SO-2"}


def test_staff_without_the_permission_sees_their_own(two_orders: None, staff: User):
    staff.user_permissions.clear()
    assert numbers(staff) == set()


def test_nobody_and_the_deactivated_see_nothing(two_orders: None, alice: User, staff: User):
    assert numbers(AnonymousUser()) == set()
    for user in (alice, staff):
        user.is_active = False
        assert numbers(user) == set()


def test_the_history_is_in_the_order_of_its_recording(two_orders: None):
    order = Order.objects.get(number="SO-1")
    services.change_status(order=order, to="shipped")
    services.change_status(order=order, to="processing", occurred_at=order.placed_at - timedelta(minutes=1))
    assert [(change.to_status, change.applied) for change in history_of(order)] == [
        ("pending", True),
        ("shipped", True),
        ("processing", False),
    ]


def test_a_snapshot_is_the_whole_order_in_plain_json(alice: User):
    order = make_order(
        "SO-1",
        placed_at=datetime(2026, 3, 1, 13, 30, tzinfo=timezone(timedelta(hours=1))),
        total=Decimal("12.5"),
        currency="EUR",
        estimated_delivery=date(2026, 3, 4),
        items=[{"sku": "TEA-01", "name": "Assam", "quantity": 2}],
    )
    assert snapshot(order) == {
        "number": "SO-1",
        "customer": "alice",
        "status": "pending",
        "version": 1,
        "status_since": "2026-03-01T12:30:00.000000Z",
        "placed_at": "2026-03-01T12:30:00.000000Z",
        "carrier": "",
        "tracking_number": "",
        "tracking_url": "",
        "estimated_delivery": "2026-03-04",
        "currency": "EUR",
        "total": "12.50",
        "items": [{"sku": "TEA-01", "name": "Assam", "quantity": 2}],
        "metadata": {},
        "updated_at": rfc3339(order.updated_at),
    }


def test_times_sort_as_their_texts_do():
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    times = [moment, moment + timedelta(microseconds=1), moment + timedelta(seconds=1)]
    assert sorted(map(rfc3339, times)) == [rfc3339(time) for time in times]
