"""`orders.bulk` is `orders.services`, faster: the same lines end in the same orders, history and notifications."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser, Permission
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications.models import Notification
from orders import services
from orders.bulk import Line, OrderUnknown, change_statuses
from orders.lifecycle import Status
from orders.models import Order
from orders.selectors import snapshot

#: What differs between two customers who are told the same.
UNEQUAL = ("number", "customer", "status_since", "updated_at")
#: Hours before now: some lie before the orders' last change, some after it.
HOURS = st.none() | st.integers(0, 6)

lines = st.builds(
    Line,
    number=st.sampled_from(["0", "1", "2", "404"]),
    to=st.sampled_from(Status.values),
    occurred_at=HOURS,
    note=st.sampled_from(["", "Why"]),
    notify=st.booleans(),
    fields=st.fixed_dictionaries({}, optional={"carrier": st.sampled_from(["", "DHL", "UPS"])}),
)


def hours_before(now: datetime, hours: Any) -> datetime | None:
    return None if hours is None else now - timedelta(hours=hours)


def one_by_one(prefix: str, wanted: list[Line], actor: Any) -> list[Any]:
    results: list[Any] = []
    for line in wanted:
        try:
            order = Order.objects.filter(number=line.number).first()
            if order is None:
                raise OrderUnknown
            outcome = services.update_order(
                order=order,
                to=line.to,
                fields=line.fields,
                actor=actor,
                occurred_at=line.occurred_at,
                note=line.note,
                notify=line.notify,
            )
            results.append((outcome.applied, outcome.ignored, outcome.order.status, outcome.order.version))
        except services.OrderError as refusal:
            results.append(type(refusal))
    return results


def at_once(wanted: list[Line], actor: Any) -> list[Any]:
    return [
        type(result)
        if isinstance(result, services.OrderError)
        else (result.applied, result.ignored, result.order.status, result.order.version)
        for result in change_statuses(lines=wanted, among=Order.objects.all(), actor=actor)
    ]


def world(prefix: str) -> Any:
    """Orders, history and notifications of one customer, but for the moments at which they were written."""

    def timeless(order: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in order.items() if name not in UNEQUAL}

    orders = Order.objects.filter(number__startswith=prefix).order_by("number")
    return (
        [timeless(snapshot(order)) for order in orders],
        [
            list(order.history.values_list("from_status", "to_status", "applied", "note", "notify", "actor"))
            for order in orders
        ],
        [
            (frame["kind"], frame["note"], frame.get("changed"), timeless(frame["order"]))
            for frame in map(
                json.loads,
                Notification.objects.filter(stream__user__username=prefix).values_list("frame", flat=True),
            )
        ],
    )


@pytest.mark.django_db
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(lines, max_size=8), may_override=st.booleans())
def test_a_batch_is_what_its_lines_are_one_by_one(
    django_user_model: type[AbstractUser], wanted: list[Line], may_override: bool
):
    now = timezone.now()
    with transaction.atomic():
        actor = django_user_model.objects.create(username="staff")
        if may_override:
            actor.user_permissions.add(Permission.objects.get(codename="override_status"))
        results = []
        for prefix, carry_out in (
            ("alice", lambda own: one_by_one("alice", own, actor)),
            ("bob", lambda own: at_once(own, actor)),
        ):
            for n in range(3):
                services.create_order(number=f"{prefix}{n}", customer=prefix, placed_at=now - timedelta(hours=3))
            own = [
                Line(
                    number=f"{prefix}{line.number}",
                    to=line.to,
                    occurred_at=hours_before(now, line.occurred_at),
                    note=line.note,
                    notify=line.notify,
                    fields=line.fields,
                )
                for line in wanted
            ]
            results.append(carry_out(own))
        assert results[0] == results[1]
        assert world("alice") == world("bob")
        transaction.set_rollback(True)


@pytest.fixture
def threads(transactional_db: None) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(5) as pool:
        yield pool


def in_thread(call: Any) -> Any:
    try:
        return call()
    finally:
        connection.close()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_batches_and_single_changes_of_the_same_orders_never_deadlock_and_lose_nothing(threads: ThreadPoolExecutor):
    """With orders locked in another order than that of their keys, or streams in the order of the lines, PostgreSQL
    ends one of the transactions with a deadlock.
    """
    numbers = [f"SO-{n}" for n in range(12)]
    for n, number in enumerate(numbers):
        services.create_order(number=number, customer=f"customer{n % 5}")
    order_ids = {order.number: order.pk for order in Order.objects.all()}
    rounds = 12

    def batches(mine: list[str]) -> list[Any]:
        return [
            result
            for n in range(rounds)
            for result in change_statuses(
                lines=[Line(number=number, to=("processing", "on_hold")[n % 2]) for number in mine],
                among=Order.objects.all(),
            )
        ]

    def singles() -> list[Any]:
        return [
            services.update_order(order=Order(pk=order_ids[number]), fields={"carrier": f"C{n}"})
            for n in range(rounds)
            for number in numbers[::2]
        ]

    # The same orders in two directions; and other orders of the same customers, again in two.
    sets = (numbers, numbers[::-1], numbers[::2], numbers[::-2])
    work = [threads.submit(in_thread, partial(batches, mine)) for mine in sets] + [threads.submit(in_thread, singles)]
    outcomes = [result for done in work for result in done.result()]
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    for order in Order.objects.all():
        versions = [
            frame["order"]["version"]
            for frame in map(
                json.loads,
                Notification.objects.filter(stream=order.customer_id).order_by("seq").values_list("frame", flat=True),
            )
            if frame["order"]["number"] == order.number
        ]
        assert versions == list(range(1, order.version + 1))
