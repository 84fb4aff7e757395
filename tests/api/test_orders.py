"""`/orders`: what is given, what is narrowed down, what is not given twice, and what is not overwritten."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import AbstractUser, Permission
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.server.bridge import MAX_ANSWER
from orders import services
from orders.models import Order, StatusChange
from orders.money import MAX_AMOUNT, MAX_DECIMALS
from orders.selectors import rfc3339
from tests.api.client import Api

WHOLE = {
    "number": "SO-9",
    "customer": "carol",
    "status": "processing",
    "placed_at": "2026-03-01T13:00:00+01:00",
    "carrier": "DHL",
    "tracking_number": "0034",
    "tracking_url": "https://carrier.example/0034",
    "estimated_delivery": "2026-03-04",
    "currency": "EUR",
    "total": "41.80",
    "items": [{"sku": "TEA-01", "name": "Tea", "quantity": 2}],
    "metadata": {"till": 4, "gift": True},
}


def test_an_order_is_given_back_as_it_was_sent(as_staff: Api):
    created = as_staff.post("orders", WHOLE)
    assert created.status == 201
    assert created.headers["Location"] == "/api/v1/orders/SO-9"
    read = as_staff.get("orders/SO-9")
    moment = "2026-03-01T12:00:00.000000Z"
    updated_at = rfc3339(Order.objects.get().updated_at)
    given = {**WHOLE, "placed_at": moment, "status_since": moment, "version": 1, "updated_at": updated_at}
    assert read.json == created.json == given


def test_a_customer_who_is_not_known_is_created_and_cannot_log_in(as_staff: Api, django_user_model: type[AbstractUser]):
    as_staff.post("orders", WHOLE)
    carol = django_user_model.objects.get(username="carol")
    assert not carol.has_usable_password()


def test_an_order_from_the_future_can_be_updated_today(as_staff: Api):
    as_staff.post("orders", {"number": "SO-9", "customer": "alice", "placed_at": "2999-01-01T00:00:00Z"})
    update = {"status": "shipped", "occurred_at": rfc3339(timezone.now())}
    assert as_staff.patch("orders/SO-9", update).json["applied"] is True


@pytest.mark.parametrize("year", [1, 999, 9999])
def test_a_time_has_four_digits_of_year(as_staff: Api, year: int):
    placed_at = f"{year:04}-06-01T00:00:00.000000Z"
    answer = as_staff.post("orders", {"number": "SO-9", "customer": "alice", "placed_at": placed_at})
    assert answer.json["placed_at"] == placed_at


def test_nothing_owed_is_no_negative_amount(as_staff: Api):
    created = as_staff.post("orders", {"number": "SO-9", "customer": "alice", "total": "-0"})
    assert created.json["total"] == as_staff.get("orders/SO-9").json["total"] == "0.00"


@pytest.mark.parametrize(
    ("currency", "sent", "kept"),
    [
        ("", "7", "7.00"),
        ("", ".5", "0.50"),
        ("EUR", "0.5", "0.50"),
        ("EUR", 41.8, "41.80"),
        ("EUR", "1.239", "1.239"),
        ("KWD", "12.345", "12.345"),
        ("KWD", "12", "12.000"),
        ("JPY", "1200", "1200"),
        ("JPY", "1200.00", "1200"),
        ("JPY", "0.5", "0.5"),
        ("CLF", "1.2345", "1.2345"),
        ("EUR", "99999999999.9999", "99999999999.9999"),
        ("EUR", "99999999999", "99999999999.00"),
        ("KWD", "0.001", "0.001"),
    ],
)
def test_an_amount_is_given_with_the_decimals_of_its_currency(as_staff: Api, currency: str, sent: object, kept: str):
    created = as_staff.post("orders", {"number": "SO-9", "customer": "alice", "currency": currency, "total": sent})
    assert created.json["total"] == as_staff.get("orders/SO-9").json["total"] == kept
    again = as_staff.patch("orders/SO-9", {"total": kept})
    assert (again.json["total"], again.json["version"]) == (kept, 1)


@given(st.decimals(0, MAX_AMOUNT, places=MAX_DECIMALS))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_amount_is_kept_exactly(as_staff: Api, alice: AbstractUser, amount: Decimal):
    Order.objects.all().delete()
    body = {"number": "SO-9", "customer": "alice", "total": str(amount)}
    assert Decimal(as_staff.post("orders", body).json["total"]) == amount
    assert Decimal(as_staff.get("orders/SO-9").json["total"]) == amount


# Goods.


@pytest.mark.parametrize(
    "line",
    [
        {"name": "Apples, loose", "quantity": 0.5},
        {"name": "Saffron", "quantity": 0.001},
        {"name": "Cable, by the metre", "quantity": 12.345678},
        {"name": "What a clumsy program adds up", "quantity": 0.1 + 0.2},
        {"name": "Bolts", "quantity": 1_000_000, "sku": ""},
        {"name": "x" * 500, "quantity": 2, "sku": "x" * 64},
    ],
)
def test_a_line_is_given_back_as_it_was_sent(as_staff: Api, line: dict[str, object]):
    created = as_staff.post("orders", {"number": "SO-9", "customer": "alice", "items": [line]})
    assert created.json["items"] == as_staff.get("orders/SO-9").json["items"] == [line]
    assert as_staff.patch("orders/SO-9", {"items": [line]}).json["version"] == 1


def test_an_sku_that_is_null_is_none(as_staff: Api, order: Order):
    answer = as_staff.patch("orders/SO-1", {"items": [{"sku": None, "name": "Tea", "quantity": 1}]})
    assert answer.json["items"] == [{"name": "Tea", "quantity": 1}]


def test_long_orders_are_kept_and_pages_of_them_stay_within_bounds(as_staff: Api, as_alice: Api):
    items = [{"sku": f"S-{n}", "name": f"{n} " + "茶" * 490, "quantity": n + 0.5} for n in range(500)]
    for n in range(9):
        # As most libraries send it, each of these letters takes six bytes.
        created = as_staff.post("orders", {"number": f"SO-{n}", "customer": "alice", "items": items})
        assert (created.status, created.json["items"]) == (201, items)
    bodies = []
    for path in ("orders?limit=200", "orders?order_by=updated&limit=200", "notifications?limit=200", "snapshot"):
        answer = as_alice.get(path)
        bodies.append(len(answer.content))
        found = answer.json.get("orders", answer.json.get("results"))
        assert 0 < len(found) < 9, path
    assert max(bodies) < MAX_ANSWER / 2
    # What is left out comes next.
    for first in ("snapshot", "orders?order_by=updated&limit=200"):
        page = as_alice.get(first).json
        seen = [order["number"] for order in page.get("orders", page.get("results"))]
        while page["next"]:
            page = as_alice.get(page["next"].removeprefix("http://testserver")).json
            seen += [order["number"] for order in page["results"]]
        assert sorted(seen) == [f"SO-{n}" for n in range(9)]
    after = 0
    while heard := as_alice.get(f"notifications?after={after}").json["results"]:
        assert [frame["seq"] for frame in heard] == list(range(after + 1, after + 1 + len(heard)))
        after += len(heard)
    assert after == 9


def test_null_clears_what_may_be_empty(as_staff: Api):
    as_staff.post("orders", {**WHOLE, "notify": True})
    empty: dict[str, object] = {
        "carrier": "",
        "tracking_number": "",
        "tracking_url": "",
        "estimated_delivery": None,
        "currency": "",
        "total": None,
        "items": [],
        "metadata": {},
    }
    answer = as_staff.patch("orders/SO-9", dict.fromkeys(empty))
    assert {name: answer.json[name] for name in empty} == empty
    as_staff.patch("orders/SO-9", {"carrier": "DHL", "status": "shipped", "note": None})
    line = {"number": "SO-9", "status": "delivered", "carrier": None, "estimated_delivery": None, "note": None}
    assert as_staff.post("orders/batch", {"changes": [line]}).json["applied"] == 1
    assert as_staff.get("orders/SO-9").json["carrier"] == ""
    assert as_staff.post("orders", {"number": "SO-10", "customer": "alice", **dict.fromkeys(empty)}).status == 201


def test_metadata_is_measured_as_it_is_written(as_staff: Api, order: Order):
    metadata = {"a": "é" * 7_000}
    assert as_staff.patch("orders/SO-1", {"metadata": metadata}).json["metadata"] == metadata


def minutes_ago(minutes: float) -> str:
    return rfc3339(timezone.now() - timedelta(minutes=minutes))


def patched(api: Api, status: str, minutes: float | None = None, **fields: object) -> dict[str, Any]:
    """The answer to an update that happened so many minutes ago; without, its sender does not say when."""
    when = {} if minutes is None else {"occurred_at": minutes_ago(minutes)}
    answer = api.patch("orders/SO-1", {"status": status, **when, **fields})
    assert answer.status == 200, answer
    told: dict[str, Any] = answer.json
    return told


def test_a_late_update_never_moves_an_order_backwards(as_staff: Api, order: Order):
    patched(as_staff, "shipped", 240)
    patched(as_staff, "out_for_delivery", 180)
    again = patched(as_staff, "out_for_delivery", 60)
    assert again["applied"] is False
    late = patched(as_staff, "shipped", 120)
    assert (late["applied"], late["status"]) == (True, "out_for_delivery")


def test_what_happened_just_before_the_newest_and_leads_on_is_no_less_true(as_staff: Api, order: Order):
    patched(as_staff, "shipped", 120)
    patched(as_staff, "out_for_delivery", 60)
    told = patched(as_staff, "delivered", 65)
    assert (told["applied"], told["status"]) == (True, "delivered")
    assert told["status_since"] < minutes_ago(64)


def test_a_time_that_is_cut_to_the_minute_loses_no_status(as_staff: Api, order: Order):
    patched(as_staff, "processing")
    cut = timezone.now().replace(second=0, microsecond=0)
    told = as_staff.patch("orders/SO-1", {"status": "shipped", "occurred_at": rfc3339(cut)}).json
    assert (told["applied"], told["status"], told["status_since"]) == (True, "shipped", rfc3339(cut))


def test_what_happened_before_an_order_came_to_us_counts(as_staff: Api, order: Order):
    told = patched(as_staff, "shipped", 10)
    assert (told["applied"], told["status"]) == (True, "shipped")


def test_a_clock_that_is_two_seconds_behind_loses_no_status(as_staff: Api, order: Order):
    patched(as_staff, "processing")
    for status in ("shipped", "out_for_delivery", "delivered"):
        told = patched(as_staff, status, 2 / 60)
        assert (told["applied"], told["status"]) == (True, status)


@pytest.mark.parametrize("status", ["on_hold", "cancelled"])
def test_what_was_shipped_afterwards_is_shipped(as_staff: Api, order: Order, status: str):
    patched(as_staff, "shipped", 10)
    told = patched(as_staff, status, 20, carrier="DHL", total="12.00")
    assert (told["applied"], told["status"], told["ignored"]) == (False, "shipped", ["total"])
    assert (told["carrier"], told["total"]) == ("DHL", None)


def test_the_same_status_of_the_same_moment_is_in_the_history_once(as_staff: Api, order: Order):
    update = {"status": "shipped", "occurred_at": minutes_ago(5)}
    assert [as_staff.patch("orders/SO-1", update).json["applied"] for _ in range(3)] == [True, False, False]
    assert StatusChange.objects.count() == 2


def test_an_order_may_be_on_its_way_when_it_comes_to_us(as_staff: Api):
    at = minutes_ago(30)
    new = {"number": "SO-9", "customer": "alice", "status": "shipped", "occurred_at": at}
    created = as_staff.post("orders", new)
    assert (created.status, created.json["status"], created.json["status_since"]) == (201, "shipped", at)
    delivered = as_staff.patch("orders/SO-9", {"status": "delivered", "occurred_at": minutes_ago(20)})
    assert (delivered.json["applied"], delivered.json["status"]) == (True, "delivered")
    refused = as_staff.post("orders", {"number": "SO-10", "customer": "alice", "occurred_at": at})
    assert refused.errors == {("/occurred_at", "without_status")}
    refused = as_staff.post("orders", {**new, "number": "SO-10", "occurred_at": "2999-01-01T00:00:00Z"})
    assert refused.errors == {("/occurred_at", "occurred_in_future")}


def test_a_change_may_be_kept_from_the_customer(as_staff: Api, as_alice: Api, order: Order):
    before = as_alice.get("notifications").json["head"]
    as_staff.patch("orders/SO-1", {"status": "shipped", "notify": False})
    assert as_alice.get("notifications").json["head"] == before
    as_staff.patch("orders/SO-1", {"status": "delivered", "note": "Ring twice"})
    [heard] = as_alice.get(f"notifications?after={before}").json["results"]
    assert (heard["order"]["status"], heard["note"]) == ("delivered", "Ring twice")


# Conditional requests.


def test_an_order_that_is_known_is_not_sent_again(as_alice: Api, order: Order):
    tag = as_alice.get("orders/SO-1").headers["ETag"]
    for known in (tag, f"W/{tag}", f'"0", {tag}', "*"):
        answer = as_alice.get("orders/SO-1", If_None_Match=known)
        assert (answer.status, answer.content, answer.headers["ETag"]) == (304, b"", tag)
    services.change_status(order=order, to="shipped")
    assert as_alice.get("orders/SO-1", If_None_Match=tag).json["status"] == "shipped"


@pytest.mark.parametrize("stale", ['"7"', 'W/"1"', '"01"', '"2", "3"', f'"{"9" * 5_000}"', '"abc"', '""'])
def test_an_update_of_what_is_no_longer_so_is_412(as_staff: Api, order: Order, stale: str):
    answer = as_staff.patch("orders/SO-1", {"status": "shipped"}, If_Match=stale)
    assert (answer.status, answer.code) == (412, "version_mismatch")
    order.refresh_from_db()
    assert order.version == 1


@pytest.mark.parametrize("matching", ['"1"', '"7", "1"', '"abc","1"', "*"])
def test_an_update_of_what_is_so_gives_the_next_tag(as_staff: Api, order: Order, matching: str):
    answer = as_staff.patch("orders/SO-1", {"status": "shipped"}, If_Match=matching)
    assert (answer.status, answer.headers["ETag"]) == (200, '"2"')


# Lists.


def numbers(api: Api, query: str) -> list[str]:
    return sorted(order["number"] for order in api.get(f"orders?{query}").json["results"])


def test_a_list_is_narrowed_by_status_customer_and_time(
    as_staff: Api, many_orders: Callable[[int], list[Order]], bob: AbstractUser
):
    first, second, _ = many_orders(3)
    services.create_order(number="SO-B", customer="bob")
    services.change_status(order=first, to="shipped")
    moment = rfc3339(timezone.now())
    services.change_status(order=second, to="cancelled")
    assert numbers(as_staff, "status=shipped") == ["SO-0"]
    assert numbers(as_staff, "status=shipped&status=cancelled") == ["SO-0", "SO-1"]
    assert numbers(as_staff, "customer=bob") == ["SO-B"]
    assert numbers(as_staff, "customer=nobody") == []
    assert numbers(as_staff, "number=SO-0&number=SO-B&number=SO-404") == ["SO-0", "SO-B"]
    assert numbers(as_staff, "number=SO-0&number=SO-1&status=cancelled") == ["SO-1"]
    assert numbers(as_staff, f"updated_since={moment}") == ["SO-1"]


def test_a_customer_cannot_filter_their_way_to_others(as_alice: Api, as_bob: Api, order: Order):
    assert numbers(as_bob, "customer=alice") == []
    assert numbers(as_bob, "number=SO-1") == []
    assert numbers(as_alice, "customer=alice") == ["SO-1"]


@pytest.mark.parametrize("same_moment", [False, True])
def test_pages_hold_each_order_once_there_and_back(as_alice: Api, alice: AbstractUser, same_moment: bool):
    start = datetime(2026, 3, 1, tzinfo=UTC)
    for n in range(7):
        placed_at = start if same_moment else start + timedelta(hours=n)
        services.create_order(number=f"SO-{n}", customer="alice", placed_at=placed_at)
    pages = [as_alice.get("orders?limit=3").json]
    assert pages[0]["previous"] is None
    while following := pages[-1]["next"]:
        pages.append(as_alice.get(following.removeprefix("http://testserver")).json)
    forth = [order["number"] for page in pages for order in page["results"]]
    assert forth == [f"SO-{n}" for n in reversed(range(7))]
    back: list[str] = []
    page = pages[-1]
    while page["previous"]:
        page = as_alice.get(page["previous"].removeprefix("http://testserver")).json
        back = [order["number"] for order in page["results"]] + back
    assert back == forth[: len(back)]
    assert len(back) >= 4


def test_pages_end_although_thousands_were_placed_at_one_moment(as_alice: Api, alice: AbstractUser):
    placed_at = datetime(2026, 3, 1, tzinfo=UTC)
    rows = [Order(number=f"SO-{n}", customer_id=alice.pk, placed_at=placed_at) for n in range(1_250)]
    super(type(Order.objects.all()), Order.objects.all()).bulk_create(rows)
    seen: list[str] = []
    following: str | None = "/api/v1/orders?limit=200"
    while following and len(seen) <= len(rows):
        page = as_alice.get(following.removeprefix("http://testserver")).json
        seen += [order["number"] for order in page["results"]]
        following = page["next"]
    assert sorted(seen) == sorted(row.number for row in rows)


def test_the_history_is_the_orders_own(as_bob: Api, as_alice: Api, order: Order):
    assert as_bob.get("orders/SO-1/history").code == "not_found"
    assert len(as_alice.get("orders/SO-1/history").json["results"]) == StatusChange.objects.count() == 1


def test_the_history_is_in_pages_newest_first(as_staff: Api, order: Order):
    for note in range(5):
        as_staff.patch("orders/SO-1", {"status": "pending", "note": f"{note}"})
    pages = [as_staff.get("orders/SO-1/history?limit=2").json]
    as_staff.patch("orders/SO-1", {"status": "shipped", "note": "5"})  # moves no page
    while following := pages[-1]["next"]:
        pages.append(as_staff.get(following.removeprefix("http://testserver")).json)
    assert [[change["note"] for change in page["results"]] for page in pages] == [["4", "3"], ["2", "1"], ["0", ""]]
    newest = as_staff.get(pages[1]["previous"].removeprefix("http://testserver")).json
    assert [change["note"] for change in newest["results"]] == ["4", "3"]
    assert as_staff.get("orders/SO-1/history?order=asc").errors == {("/order", "unknown_parameter")}


# Deleting.


def test_a_deleted_order_is_gone_and_its_customer_is_told(as_staff: Api, as_alice: Api, order: Order):
    as_staff.patch("orders/SO-1", {"status": "shipped"})
    assert as_staff.delete("orders/SO-1").status == 204
    assert as_staff.get("orders/SO-1").code == as_staff.delete("orders/SO-1").code == "not_found"
    assert as_alice.get("snapshot").json["orders"] == []
    told = as_alice.get("notifications?after=0").json["results"]
    assert [(one["kind"], one["order"]["version"]) for one in told] == [
        ("order.created", 1),
        ("order.status_changed", 2),
        ("order.removed", 3),
    ]


def test_an_order_is_deleted_at_the_version_that_was_seen(as_staff: Api, order: Order):
    as_staff.patch("orders/SO-1", {"carrier": "DHL"})
    assert as_staff.delete("orders/SO-1", If_Match='"1"').code == "version_mismatch"
    assert as_staff.delete("orders/SO-1", If_Match='"2"').status == 204


def test_who_may_only_change_orders_deletes_none(as_staff: Api, staff: AbstractUser, order: Order):
    staff.user_permissions.remove(Permission.objects.get(codename="delete_order"))
    assert as_staff.delete("orders/SO-1").code == "permission_denied"


# Names.


@pytest.mark.parametrize(
    "name", ["o'brien@example.ie", "auth0|5f7c", "DOMAIN\\bob", "gid://shopify/Customer/1", "+49 30"]
)
def test_a_customer_is_called_as_the_shop_calls_them(as_staff: Api, name: str):
    assert as_staff.post("orders", {"number": "SO-9", "customer": name}).json["customer"] == name
    assert numbers(as_staff, urlencode({"customer": name})) == ["SO-9"]
    assert as_staff.get(f"snapshot?{urlencode({'customer': name})}").json["orders"][0]["customer"] == name
    assert as_staff.post("tickets", {"customer": name}).status == 201


def test_a_name_is_found_in_whatever_spelling_it_is_asked_for(as_staff: Api):
    for number, typed in (("SO-1", "A\u030asa"), ("SO-2", " \u00c5sa "), ("SO-3", "\u212bsa")):
        created = as_staff.post("orders", {"number": number, "customer": typed})
        assert created.json["customer"] == "\u00c5sa"
        assert "SO-1" in numbers(as_staff, urlencode({"customer": typed}))


def test_an_order_for_who_is_called_almost_as_a_customer_is_refused(as_staff: Api, alice: AbstractUser):
    answer = as_staff.post("orders", {"number": "SO-9", "customer": "ALICE"})
    assert (answer.status, answer.errors) == (409, {("/customer", "customer_exists")})
    assert answer.json["customer"] == "alice"
    assert numbers(as_staff, "customer=ALICE") == []
    asked = as_staff.get("snapshot?customer=ALICE")
    assert (asked.status, asked.code, asked.json["customer"]) == (409, "customer_exists", "alice")
