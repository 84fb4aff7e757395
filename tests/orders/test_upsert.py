"""`orders.upsert`: what it takes lines one by one to do, done at once, also while others do the same."""

import json
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import connection

from notifications.models import Notification, Stream
from orders import services
from orders.bulk import Line, change_statuses
from orders.models import Order
from orders.selectors import snapshot
from orders.upsert import Put, Result, Whole, put_orders
from tests.database import OpenTransaction, elsewhere, on_postgres, somebody_waits_for_a_lock, together
from tests.polling import poll

WHOLE: dict[str, Any] = {
    "placed_at": datetime(2026, 3, 1, 12, tzinfo=UTC),
    "carrier": "DHL",
    "tracking_number": 'a "quoted" \\ text, Ö ☕ {1,NULL}',
    "tracking_url": "https://carrier.example/0034",
    "estimated_delivery": date(2026, 3, 4),
    "currency": "EUR",
    "total": Decimal("41.80"),
    "items": [{"sku": "TEA-01", "name": 'Tea, "1st flush"\nÖ', "quantity": 2}],
    "metadata": {"till": 4, "gift": True, "tags": ["a", None, 0.5]},
}


def put(*lines: Whole, **kwargs: Any) -> list[Any]:
    return put_orders(lines=lines, among=Order.objects.all(), **kwargs)


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 12])
def test_a_new_order_is_as_if_it_had_been_created_alone(count: int):
    """Few rows are written as Django writes them, many in another way."""
    services.create_order(number="SO-A", customer="alice", status="processing", **WHOLE)
    put(*(Whole(f"SO-{n}", "bob", to="processing", note=f"No. {n}", fields=WHOLE) for n in range(count)))
    alone = Order.objects.get(number="SO-A")
    [(alone_entry, alone_told)] = [(alone.history.get(), Notification.objects.get(stream__user__username="alice"))]
    for n in range(count):
        order = Order.objects.get(number=f"SO-{n}")
        differ = ("number", "customer", "updated_at")
        assert [(name, value) for name, value in snapshot(order).items() if value != snapshot(alone)[name]] == [
            (name, snapshot(order)[name]) for name in differ
        ]
        assert (order.news_at, order.metadata) == (alone.news_at, alone.metadata)
        entry = order.history.get()
        for name in ("from_status", "to_status", "applied", "occurred_at", "dated", "actor", "notify"):
            assert getattr(entry, name) == getattr(alone_entry, name)
        assert entry.note == f"No. {n}"
        told = Notification.objects.get(stream__user__username="bob", seq=n + 1)
        frame = json.loads(told.frame)
        assert (told.kind, frame["order"]) == (alone_told.kind, snapshot(order))


@pytest.mark.django_db
def test_an_order_that_was_put_can_be_changed_and_saved():
    [new] = put(Whole(number="SO-1", customer="alice", fields=WHOLE))
    new.order.carrier = "UPS"
    new.order.save()
    assert Order.objects.get().version == 2


@pytest.mark.django_db(transaction=True)
def test_the_same_new_orders_at_the_same_moment_are_created_once():
    def mine(numbers: Any) -> list[Any]:
        return put(*(Whole(number=f"SO-{n}", customer=f"buyer{n}", to="processing") for n in numbers))

    outcomes = together(*(partial(mine, numbers) for numbers in (range(40), range(39, -1, -1), range(40))))
    results = Counter(one.result for many in outcomes for one in many)  # type: ignore[union-attr]
    assert results == {Result.CREATED: 40, Result.UNCHANGED: 80}
    assert Order.objects.count() == Notification.objects.count() == 40


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_puts_changes_and_single_orders_never_wait_for_each_other_in_a_circle():
    def puts(numbers: Any, carrier: str) -> list[Any]:
        found: list[Any] = []
        for n in range(6):
            lines = [
                *(
                    Whole(number=f"SO-{m}", customer=f"buyer{m % 3}", fields={"carrier": f"{carrier}{n}"})
                    for m in numbers
                ),
                Whole(number=f"N-{n}", customer=f"newcomer{n}"),
            ]
            found += put(*lines)
        return found

    def changes() -> list[Any]:
        lines = [[Line(f"SO-{m}", to) for m in range(10)] for to in ("processing", "on_hold") * 3]
        return [one for some in lines for one in change_statuses(lines=some, among=Order.objects.all())]

    put(*(Whole(number=f"SO-{m}", customer=f"buyer{m % 3}") for m in range(10)))
    outcomes = together(partial(puts, range(10), "A"), partial(puts, range(9, -1, -1), "B"), changes)
    assert [error for error in outcomes if isinstance(error, Exception)] == []
    assert [one for many in outcomes for one in many if isinstance(one, Exception)] == []  # type: ignore[union-attr]
    for stream in Stream.objects.all():
        numbers = list(Notification.objects.filter(stream=stream).order_by("seq").values_list("seq", flat=True))
        assert numbers == list(range(1, stream.head + 1))


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_an_order_that_does_not_change_waits_for_nobody(alice: AbstractUser):
    order = services.create_order(number="SO-1", customer="alice")
    with elsewhere() as other:
        OpenTransaction(other, lambda: services.update_order(order=order, fields={"carrier": "DHL"}))
        [unchanged] = put(Whole(number="SO-1", customer="alice", to="pending"))
        assert unchanged.result is Result.UNCHANGED


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_what_another_has_changed_meanwhile_is_seen_under_the_lock(alice: AbstractUser):
    order = services.create_order(number="SO-1", customer="alice")
    with elsewhere() as other, elsewhere() as third:
        open_one = OpenTransaction(other, lambda: services.update_order(order=order, fields={"carrier": "DHL"}))
        waiting = third.begin(lambda: put(Whole(number="SO-1", fields={"carrier": "DHL"})))
        poll(somebody_waits_for_a_lock)
        open_one.commit()
        [outcome] = waiting.result()
    assert isinstance(outcome, Put)
    assert (outcome.result, outcome.version) == (Result.UNCHANGED, 2)
    assert connection.in_atomic_block is False
