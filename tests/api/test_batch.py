"""`/orders/batch`: a thousand changes are a handful of statements, and each is what it would have been alone."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser, Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications.models import Notification, Stream
from orders import services
from orders.models import Order, StatusChange
from orders.selectors import rfc3339
from tests.api.client import Answer, Api


def send(api: Api, *changes: Any, **headers: str) -> Answer:
    return api.post("orders/batch", {"changes": list(changes)}, **headers)


def to(number: int | str, status: str, **more: Any) -> dict[str, Any]:
    return {"number": number if isinstance(number, str) else f"SO-{number}", "status": status, **more}


def test_each_line_gets_its_own_result_and_a_bad_one_harms_no_other(
    as_staff: Api, staff: AbstractUser, many_orders: Callable[[int], list[Order]]
):
    staff.user_permissions.remove(Permission.objects.get(codename="override_status"))
    many_orders(5)
    hour_ago, earlier = (rfc3339(timezone.now() - timedelta(hours=hours)) for hours in (1, 2))
    answer = send(
        as_staff,
        to(0, "shipped", tracking_number="0034"),
        to(1, "returned"),
        to(2, "flying"),
        to("SO-404", "shipped"),
        "SO-3",
        to(3, "pending"),
        to(4, "shipped", occurred_at=hour_ago, carrier="UPS"),
        to(1, "shipped", occurred_at="2999-01-01T00:00:00Z"),
        to(2, "delivered"),
        to(2, "shipped", colour="red"),
        to(4, "on_hold", occurred_at=earlier, carrier="DHL", tracking_number="0034"),
    )
    assert answer.status == 200
    assert (answer.json["applied"], answer.json["refused"]) == (3, 6)
    results = answer.json["results"]
    applied, unmoved = {"applied": True, "ignored": []}, {"applied": False, "ignored": []}
    assert results[0] == {"number": "SO-0", "status": "shipped", "version": 2, **applied}
    assert results[5] == {"number": "SO-3", "status": "pending", "version": 1, **unmoved}
    assert results[6] == {"number": "SO-4", "status": "shipped", "version": 2, **applied}
    assert results[8] == {"number": "SO-2", "status": "delivered", "version": 2, **applied}
    assert results[10] == {
        "number": "SO-4",
        "status": "shipped",
        "version": 3,
        "applied": False,
        "ignored": ["carrier"],
    }
    refused = {
        index: (problem["status"], [(error["pointer"], error["code"]) for error in problem["errors"]])
        for index, result in enumerate(results)
        if (problem := result.get("problem"))
    }
    assert refused == {
        1: (409, [("/changes/1/status", "illegal_transition")]),
        2: (400, [("/changes/2/status", "invalid_choice")]),
        3: (404, [("/changes/3/number", "not_found")]),
        4: (400, [("/changes/4", "invalid")]),
        7: (400, [("/changes/7/occurred_at", "occurred_in_future")]),
        9: (400, [("/changes/9/colour", "unknown_field")]),
    }
    assert results[1]["problem"]["allowed"]
    assert [result["number"] for result in results] == [
        *("SO-0", "SO-1", "SO-2", "SO-404", None, "SO-3", "SO-4", "SO-1", "SO-2", "SO-2", "SO-4"),
    ]
    assert Order.objects.get(number="SO-0").tracking_number == "0034"


def test_statements_do_not_grow_with_the_lines(as_staff: Api, many_orders: Callable[[int], list[Order]]):
    many_orders(300)

    def statements(numbers: range, status: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert send(as_staff, *(to(n, status) for n in numbers)).json["applied"] == len(numbers)
        return len(queries)

    few, many = statements(range(2), "processing"), statements(range(2, 300), "processing")
    if connection.vendor == "postgresql":
        assert many == few
    assert few <= 14


def test_histories_of_orders_with_late_lines_are_read_together(
    as_staff: Api, many_orders: Callable[[int], list[Order]]
):
    many_orders(60)
    now = timezone.now()
    send(as_staff, *(to(n, "delivered", occurred_at=rfc3339(now)) for n in range(60)))
    late = [to(n, "shipped", occurred_at=rfc3339(now - timedelta(minutes=n + 1))) for n in range(60)]
    with CaptureQueriesContext(connection) as few:
        assert send(as_staff, *late[:2]).json["applied"] == 2
    with CaptureQueriesContext(connection) as many:
        assert send(as_staff, *late[2:]).json["applied"] == 58
    if connection.vendor == "postgresql":
        assert len(many) == len(few)


def test_lines_for_one_order_are_carried_out_in_turn(as_staff: Api, as_alice: Api, order: Order):
    before = as_alice.get("notifications").json["head"]
    answer = send(as_staff, to(1, "processing"), to(1, "shipped", note="Gone"), to(1, "delivered"))
    assert [result["version"] for result in answer.json["results"]] == [2, 3, 4]
    heard = as_alice.get(f"notifications?after={before}").json["results"]
    assert [(frame["order"]["status"], frame["order"]["version"], frame["note"]) for frame in heard] == [
        ("processing", 2, ""),
        ("shipped", 3, "Gone"),
        ("delivered", 4, ""),
    ]
    assert heard[-1]["order"] == as_alice.get("orders/SO-1").json
    assert [change.to_status for change in StatusChange.objects.all()] == [
        *("pending", "processing", "shipped", "delivered"),
    ]


def test_the_streams_of_all_customers_stay_gapless(as_staff: Api, alice: AbstractUser, bob: AbstractUser):
    for n in range(20):
        services.create_order(number=f"SO-{n}", customer="alice" if n % 3 else "bob")
    send(as_staff, *(to(n, "shipped", notify=bool(n % 2)) for n in range(20)))
    for stream in Stream.objects.all():
        numbers = list(Notification.objects.filter(stream=stream).values_list("seq", flat=True))
        assert numbers == list(range(1, stream.head + 1))
    assert Notification.objects.filter(kind="order.status_changed").count() == 10


def test_the_hints_of_a_batch_go_out_together_after_the_commit(
    as_staff: Api, many_orders: Callable[[int], list[Order]], django_capture_on_commit_callbacks: Any
):
    many_orders(10)
    with django_capture_on_commit_callbacks() as hints:
        send(as_staff, *(to(n, "shipped") for n in range(10)))
    assert len(hints) == 2  # one for alice, one for the boards


def test_details_without_a_new_status_are_applied(as_staff: Api, order: Order):
    shipped = to(1, "shipped", carrier="DHL", estimated_delivery="2026-03-01")
    assert send(as_staff, shipped).json["applied"] == 1
    [again] = send(as_staff, shipped).json["results"]
    assert (again["applied"], again["version"]) == (False, 2)
    [other] = send(as_staff, {**shipped, "carrier": "UPS"}).json["results"]
    assert (other["applied"], other["version"]) == (False, 3)
    assert as_staff.get("orders/SO-1").json["carrier"] == "UPS"


def test_a_batch_that_is_sent_twice_is_made_once(as_staff: Api, order: Order):
    first = send(as_staff, to(1, "shipped"), Idempotency_Key="k1")
    second = send(as_staff, to(1, "shipped"), Idempotency_Key="k1")
    assert first.json == second.json
    assert second.json["applied"] == 1
    assert StatusChange.objects.count() == 2


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, ("/changes", "required")),
        ({"changes": []}, ("/changes", "empty")),
        ({"changes": {"number": "SO-1"}}, ("/changes", "not_a_list")),
        ({"changes": [to(n, "shipped") for n in range(1_001)]}, ("/changes", "max_length")),
        ({"changes": [{}] * 10_000}, ("/changes", "max_length")),
        ({"changes": [], "dry_run": True}, ("/dry_run", "unknown_field")),
    ],
)
def test_what_is_no_batch_is_refused_whole(as_staff: Api, body: Any, error: tuple[str, str]):
    answer = as_staff.post("orders/batch", body)
    assert answer.status == 400
    assert error in answer.errors


def test_who_sees_only_their_own_orders_changes_only_those(as_bob: Api, bob: AbstractUser, order: Order):
    bob.user_permissions.add(Permission.objects.get(codename="change_order"))
    services.create_order(number="SO-B", customer="bob")
    theirs, own = send(as_bob, to(1, "shipped"), to("SO-B", "shipped")).json["results"]
    assert theirs["problem"]["code"] == "not_found"
    assert own["applied"] is True


def test_a_customer_may_send_no_batch(as_alice: Api, order: Order):
    assert send(as_alice, to(1, "cancelled")).code == "permission_denied"
