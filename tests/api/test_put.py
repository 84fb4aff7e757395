"""PUT of an order, and a thousand of them by `/orders/batch`: created, updated, or left alone without a trace."""

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

WHOLE = {
    "customer": "carol",
    "status": "processing",
    "placed_at": "2026-03-01T12:00:00.000000Z",
    "carrier": "DHL",
    "tracking_number": "0034",
    "tracking_url": "https://carrier.example/0034",
    "estimated_delivery": "2026-03-04",
    "currency": "EUR",
    "total": "41.80",
    "items": [{"sku": "TEA-01", "name": "Tea", "quantity": 2}],
    "metadata": {"till": 4, "gift": True},
}


def put(api: Api, number: str, body: Any, **headers: str) -> Answer:
    return api.call("PUT", f"orders/{number}", body, **headers)


def put_many(api: Api, *orders: Any, **headers: str) -> Answer:
    return api.post("orders/batch", {"orders": list(orders)}, **headers)


def told() -> int:
    return Notification.objects.count()


def test_an_order_that_is_new_is_created(as_staff: Api):
    answer = put(as_staff, "SO-9", {"number": "SO-9", **WHOLE})
    assert (answer.status, answer.json["result"], answer.json["ignored"]) == (201, "created", [])
    assert answer.headers["Location"] == "/api/v1/orders/SO-9"
    assert answer.headers["ETag"] == '"1"'
    read = as_staff.get("orders/SO-9").json
    assert {**read, "result": "created", "ignored": []} == answer.json
    assert {name: read[name] for name in WHOLE} == WHOLE


def test_what_changes_nothing_leaves_no_trace(as_staff: Api):
    put(as_staff, "SO-9", WHOLE)
    before = (Order.objects.values().get(), StatusChange.objects.count(), told())
    since = Order.objects.get().status_since
    for same in (
        WHOLE,
        {"number": "SO-9", **WHOLE},
        {},
        {"total": 41.8, "items": [{"quantity": 2, "name": "Tea", "sku": "TEA-01"}]},
        {"status": "processing", "occurred_at": rfc3339(since)},
        {"placed_at": "2026-03-01T13:00:00+01:00", "notify": False},
    ):
        answer = put(as_staff, "SO-9", same)
        assert (answer.status, answer.json["result"], answer.json["version"]) == (200, "unchanged", 1)
    assert (Order.objects.values().get(), StatusChange.objects.count(), told()) == before


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"carrier": "UPS"}, "order.updated"),
        ({"metadata": {"till": 4, "gift": 1}}, "order.updated"),
        ({"metadata": {}}, "order.updated"),
        ({"total": None}, "order.updated"),
        ({"status": "shipped"}, "order.status_changed"),
        ({"status": "shipped", "carrier": "UPS"}, "order.status_changed"),
    ],
)
def test_what_differs_is_the_next_version_and_told_once(as_staff: Api, change: dict[str, Any], kind: str):
    put(as_staff, "SO-9", WHOLE)
    before = told()
    answer = put(as_staff, "SO-9", {**WHOLE, **change})
    assert (answer.status, answer.json["result"], answer.headers["ETag"]) == (200, "updated", '"2"')
    assert {name: answer.json[name] for name in change} == change
    assert told() == before + 1
    assert Notification.objects.order_by("seq").last().kind == kind  # type: ignore[union-attr]
    assert as_staff.get("orders/SO-9").json == {
        name: value for name, value in answer.json.items() if name not in ("result", "ignored")
    }


def test_what_is_absent_stays_as_others_have_told_it(as_staff: Api):
    """The carrier's number comes from the warehouse, which the system that puts the order knows nothing of."""
    put(as_staff, "SO-9", {"customer": "carol", "total": "41.80"})
    as_staff.patch("orders/SO-9", {"tracking_number": "0034"})
    assert put(as_staff, "SO-9", {"customer": "carol", "total": "41.90"}).json["tracking_number"] == "0034"
    assert put(as_staff, "SO-9", {"tracking_number": ""}).json["tracking_number"] == ""


def test_a_status_is_judged_by_the_lifecycle(as_staff: Api, staff: AbstractUser):
    staff.user_permissions.remove(Permission.objects.get(codename="override_status"))
    put(as_staff, "SO-9", {**WHOLE, "status": "delivered"})
    answer = put(as_staff, "SO-9", {"status": "pending", "carrier": "UPS"})
    assert (answer.status, answer.code, answer.json["allowed"]) == (409, "illegal_transition", ["returned"])
    assert Order.objects.get().carrier == "DHL"


def test_a_status_that_is_late_is_ignored_and_the_rest_applied_once(as_staff: Api, order: Order):
    as_staff.patch("orders/SO-1", {"status": "delivered"})
    hour_ago = rfc3339(timezone.now() - timedelta(hours=1))
    late = {"status": "shipped", "occurred_at": hour_ago, "total": "5.00"}
    first, again = put(as_staff, "SO-1", late), put(as_staff, "SO-1", late)
    assert (first.json["result"], first.json["ignored"], first.json["status"]) == ("updated", ["status"], "delivered")
    assert first.json["total"] == "5.00"
    assert (again.json["result"], again.json["ignored"]) == ("unchanged", ["status"])
    assert StatusChange.objects.filter(to_status="shipped").count() == 1


def test_an_order_may_be_created_on_its_way(as_staff: Api):
    hour_ago = rfc3339(timezone.now() - timedelta(hours=1))
    answer = put(as_staff, "SO-9", {**WHOLE, "status": "shipped", "occurred_at": hour_ago, "note": "In two parcels"})
    assert (answer.json["status"], answer.json["status_since"]) == ("shipped", hour_ago)
    [entry] = as_staff.get("orders/SO-9/history").json["results"]
    assert (entry["occurred_at"], entry["note"]) == (hour_ago, "In two parcels")


def test_nobody_hears_of_what_is_put_without_notify(as_staff: Api, order: Order):
    before = told()
    put(as_staff, "SO-9", {**WHOLE, "notify": False})
    put(as_staff, "SO-1", {"carrier": "DHL", "notify": False})
    assert told() == before


# What is refused.


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_number_and_customer_may_stand_in_the_body_if_they_are_the_orders(as_staff: Api, order: Order, method: str):
    def send(body: Any) -> Answer:
        return as_staff.call(method, "orders/SO-1", body)

    assert send({"number": " SO-1 ", "customer": "alice", "carrier": "DHL"}).json["carrier"] == "DHL"
    assert send({"number": "SO-2"}).errors == {("/number", "number_differs")}
    other = send({"customer": "bob", "carrier": "UPS"})
    assert (other.status, other.code, other.errors) == (409, "customer_differs", {("/customer", "customer_differs")})
    assert Order.objects.get().carrier == "DHL"


def test_a_new_order_has_to_say_whose_it_is(as_staff: Api):
    answer = put(as_staff, "SO-9", {"total": "1.00"})
    assert (answer.status, answer.errors) == (400, {("/customer", "required")})


def test_a_number_that_cannot_be_is_refused(as_staff: Api):
    assert put(as_staff, "a%20%C2%85", WHOLE).status in (400, 404)
    assert put_many(as_staff, {"number": "a//b", **WHOLE}).json["refused"] == 1


def test_an_order_that_exists_is_not_posted_again_and_the_answer_says_where_it_is(as_staff: Api, order: Order):
    as_staff.patch("orders/SO-1", {"carrier": "DHL"})
    answer = as_staff.post("orders", {"number": "SO-1", "customer": "alice"})
    assert (answer.status, answer.code) == (409, "number_taken")
    assert (answer.json["order"], answer.json["version"]) == ("/api/v1/orders/SO-1", 2)


def test_who_does_not_see_an_order_learns_only_that_its_number_is_taken(as_bob: Api, bob: AbstractUser, order: Order):
    assert put(as_bob, "SO-1", {"carrier": "DHL"}).code == "not_found"
    bob.user_permissions.add(Permission.objects.get(codename="add_order"))
    for answer in (put(as_bob, "SO-1", WHOLE), as_bob.post("orders", {"number": "SO-1", "customer": "bob"})):
        assert (answer.code, "version" in answer.json) == ("number_taken", False)


def test_creating_and_changing_need_a_permission_each(as_bob: Api, bob: AbstractUser, as_alice: Api, order: Order):
    assert put(as_alice, "SO-1", {"carrier": "DHL"}).code == "permission_denied"
    assert put(as_alice, "SO-9", WHOLE).code == "not_found"
    add, change, view = (Permission.objects.get(codename=f"{verb}_order") for verb in ("add", "change", "view"))
    bob.user_permissions.set([add, view])
    lines = ({"number": "SO-1", "carrier": "DHL"}, {"number": "SO-9", **WHOLE})
    assert [result.get("result") for result in put_many(as_bob, *lines).json["results"]] == [None, "created"]
    assert as_bob.post("orders/batch", {"changes": [{"number": "SO-1", "status": "shipped"}]}).code == (
        "permission_denied"
    )
    bob.user_permissions.set([change, view])
    bob = type(bob).objects.get(pk=bob.pk)
    lines = ({"number": "SO-1", "carrier": "DHL"}, {"number": "SO-10", **WHOLE})
    changed, absent = put_many(as_bob, *lines).json["results"]
    assert (changed["result"], absent["problem"]["code"]) == ("updated", "not_found")


# Conditions, and keys.


def test_a_condition_is_kept(as_staff: Api, order: Order):
    assert put(as_staff, "SO-1", {"carrier": "DHL"}, If_Match='"1"').headers["ETag"] == '"2"'
    stale = put(as_staff, "SO-1", {"carrier": "DHL"}, If_Match='"1"')
    assert (stale.status, stale.code, stale.headers["ETag"]) == (412, "version_mismatch", '"2"')
    there = put(as_staff, "SO-1", {"carrier": "UPS"}, If_None_Match="*")
    assert (there.status, there.code, there.headers["ETag"]) == (412, "version_mismatch", '"2"')
    assert put(as_staff, "SO-9", WHOLE, If_None_Match="*").status == 201
    for absent in ('"1"', "*"):
        assert put(as_staff, "SO-10", WHOLE, If_Match=absent).status == 412
    assert put(as_staff, "SO-10", WHOLE, If_None_Match='"1"').status == 400
    assert not Order.objects.filter(number="SO-10").exists()


def test_a_key_makes_it_once(as_staff: Api):
    first = put(as_staff, "SO-9", WHOLE, Idempotency_Key="k")
    as_staff.patch("orders/SO-9", {"carrier": "UPS"})
    again = put(as_staff, "SO-9", WHOLE, Idempotency_Key="k")
    assert (again.status, again.json) == (201, first.json)
    assert Order.objects.get().carrier == "UPS"


# Many.


def test_each_order_of_a_batch_gets_its_own_result(as_staff: Api, many_orders: Callable[[int], list[Order]]):
    many_orders(3)
    before = told()
    answer = put_many(
        as_staff,
        {"number": "SO-9", **WHOLE},
        {"number": "SO-0", "customer": "alice"},
        {"number": "SO-1", "carrier": "DHL"},
        {"number": "SO-2", "customer": "bob"},
        {"number": "SO-10"},
        {"number": "SO-11", "total": "many"},
        {"number": "SO-9", "carrier": "UPS"},
        {"number": "SO-12", "customer": "Carol"},
        {"number": "SO-13", "customer": "carol", "status": "shipped"},
    )
    assert answer.status == 200
    counts = {name: answer.json[name] for name in ("created", "updated", "unchanged", "refused")}
    assert counts == {"created": 2, "updated": 1, "unchanged": 1, "refused": 5}
    results = answer.json["results"]
    assert results[0] == {"number": "SO-9", "result": "created", "status": "processing", "version": 1, "ignored": []}
    assert results[1] == {"number": "SO-0", "result": "unchanged", "status": "pending", "version": 1, "ignored": []}
    assert results[2] == {"number": "SO-1", "result": "updated", "status": "pending", "version": 2, "ignored": []}
    refused = {
        index: [(error["pointer"], error["code"]) for error in result["problem"]["errors"]]
        for index, result in enumerate(results)
        if "problem" in result
    }
    assert refused == {
        3: [("/orders/3/customer", "customer_differs")],
        4: [("/orders/4/customer", "required")],
        5: [("/orders/5/total", "invalid")],
        6: [("/orders/6/number", "number_repeated")],
        7: [("/orders/7/customer", "customer_exists")],
    }
    assert told() == before + 3
    for stream in Stream.objects.all():
        numbers = list(Notification.objects.filter(stream=stream).order_by("seq").values_list("seq", flat=True))
        assert numbers == list(range(1, stream.head + 1))


def test_customers_of_a_batch_are_as_those_of_single_orders(as_staff: Api, django_user_model: type[AbstractUser]):
    services.create_order(number="SO-1", customer="alone")
    put_many(as_staff, *({"number": f"SO-{n}", "customer": f"buyer{n % 2}"} for n in range(2, 6)))
    for user in django_user_model.objects.filter(username__in=["alone", "buyer0", "buyer1"]):
        assert not user.has_usable_password()
        assert Stream.objects.filter(user_id=user.pk).exists()
    assert as_staff.post("orders", {"number": "SO-9", "customer": "BUYER0"}).code == "customer_exists"


def test_statements_do_not_grow_with_the_orders(as_staff: Api):
    def statements(numbers: range, **more: Any) -> tuple[int, int]:
        lines = [{"number": f"SO-{n}", "customer": f"buyer{n}", **more} for n in numbers]
        with CaptureQueriesContext(connection) as queries:
            answer = put_many(as_staff, *lines).json
        assert answer["refused"] == 0
        writes = [query["sql"] for query in queries if query["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
        return len(queries), len(writes)

    few, many = statements(range(2)), statements(range(2, 202))
    assert few[0] <= 25
    if connection.vendor == "postgresql":
        assert many == few
    changed = statements(range(202), carrier="DHL")
    assert changed[0] <= few[0]
    unchanged = statements(range(202), carrier="DHL")
    assert (unchanged[0] <= 8, unchanged[1]) == (True, 0)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"orders": []}, ("/orders", "empty")),
        ({"orders": {}}, ("/orders", "not_a_list")),
        ({"orders": [{}] * 1_001}, ("/orders", "max_length")),
        ({"orders": [{}], "changes": [{}]}, ("/orders", "one_of_both")),
    ],
)
def test_what_is_no_batch_of_orders_is_refused_whole(as_staff: Api, body: Any, error: tuple[str, str]):
    answer = as_staff.post("orders/batch", body)
    assert answer.status == 400
    assert error in answer.errors


def test_a_thousand_whole_orders_fit_into_one_request(as_staff: Api):
    items = [{"sku": f"TEA-{n:02}", "name": "Assam tea, second flush, 250 g", "quantity": 2} for n in range(10)]
    line = {**WHOLE, "items": items, "metadata": {"note": "x" * 700}}
    answer = as_staff.post("orders/batch", {"orders": [{"number": f"SO-{n}", **line} for n in range(1_000)]})
    assert (answer.status, answer.json["created"]) == (200, 1_000)
