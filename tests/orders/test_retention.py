"""Closed orders go after the days that the shop says, with everything that hangs on them; and no others."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from notifications.log import stream
from orders import conversation, retention, tasks
from orders.lifecycle import CLOSED, Status
from orders.models import Order, StatusChange
from tests.database import OpenTransaction, elsewhere, on_postgres
from tests.orders.conftest import make_many, make_order

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _kept_for_a_year(settings: Any) -> None:
    settings.ORDER_RETENTION_DAYS = 365


def old_order(number: str = "SO-1", *, days: int = 366, **fields: Any) -> Order:
    """Placed, and since then in its status."""
    placed_at = timezone.now() - timedelta(days=days)
    return make_order(number, **{"status": "delivered", "placed_at": placed_at, **fields})


def numbers() -> list[str]:
    return list(Order.objects.order_by("pk").values_list("number", flat=True))


def test_an_old_order_goes_with_its_history_and_messages(alice: User):
    order = old_order()
    conversation.write(order=order, author=alice, text="Where is it?")
    old_order("SO-2", days=364)
    head = stream.position(alice.pk).head
    assert [tasks.delete_old_orders() for _ in range(2)] == [1, 0]
    assert numbers() == ["SO-2"]
    assert StatusChange.objects.count() == 1
    assert stream.position(alice.pk).head == head, "nobody is told"


@pytest.mark.parametrize("status", Status)
def test_only_what_is_closed_is_old(alice: User, status: Status):
    old_order(status=status)
    assert retention.delete_old_orders() == (status in CLOSED)


def test_the_days_count_from_when_it_was_closed(alice: User):
    Order.objects.filter(pk=old_order().pk).update(status_since=timezone.now() - timedelta(days=364))
    assert retention.delete_old_orders() == 0


def test_without_the_setting_nothing_is_deleted(alice: User, settings: Any):
    settings.ORDER_RETENTION_DAYS = None
    old_order(days=10_000)
    assert retention.delete_old_orders() == 0


def test_more_than_a_batch_goes_in_one_run_and_what_is_out_of_time_in_the_next(alice: User):
    old = timezone.now() - timedelta(days=400)
    rows = [
        Order(number=f"SO-{n}", customer=alice, status="delivered", placed_at=old, status_since=old)
        for n in range(retention.BATCH + 1)
    ]
    make_many(rows)
    assert retention.delete_old_orders(seconds=0) == 0
    assert retention.delete_old_orders() == retention.BATCH + 1
    assert numbers() == []


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_an_order_that_somebody_is_changing_is_left_to_the_next_run(alice: User):
    order = old_order()
    old_order("SO-2")
    with elsewhere() as other:
        changing = OpenTransaction(other, lambda: Order.objects.select_for_update().get(pk=order.pk))
        assert retention.delete_old_orders() == 1
        changing.commit()
    assert retention.delete_old_orders() == 1
