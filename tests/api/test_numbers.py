"""Orders' numbers: whatever the shop calls an order, it is created, found, changed and shown under that number."""

import re
import unicodedata
from typing import Any
from urllib.parse import quote, unquote

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from notifications.models import Notification
from orders import numbers, services
from orders.models import Order
from tests.api.client import Api

#: As shops have them.
NUMBERS = [
    "#1001",
    "INV/2024/001",
    "R-2024 0001",
    "Ö-17",
    "A:1",
    "(17)",
    "17+1",
    "007",
    "100%",
    "%2F",
    "a?b=c&d",
    "A;v=1",
    "DOMAIN\\17",
    "o'brien!*~",
    "注文-17",
    "📦 17",
    "history/17",
    "A/History",
    '"<b>17</b>"',
    "x" * 64,
]


def encoded(number: str) -> str:
    """As `encodeURIComponent` has it."""
    return quote(number, safe="!*'()")


@pytest.fixture
def in_browser(alice: User, settings: Any) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def assert_reached(number: str, as_staff: Api, as_alice: Api, in_browser: Client) -> None:
    """From the POST to the page, as a system goes that knows of the address no more than the answers say."""
    created = as_staff.post("orders", {"number": number, "customer": "alice"})
    assert (created.status, created.json["number"]) == (201, number), created
    address = created.headers["Location"]
    assert address == f"/api/v1/orders/{encoded(number)}"
    assert as_alice.get(address).json == created.json
    changed = as_staff.patch(address, {"status": "shipped"}, If_Match=created.headers["ETag"])
    assert (changed.json["number"], changed.json["version"]) == (number, 2)
    history = as_alice.get(f"{address}/history").json["results"]
    assert [entry["to_status"] for entry in history] == ["shipped", "pending"]
    line = {"number": number, "status": "delivered"}
    assert as_staff.post("orders/batch", {"changes": [line]}).json["results"][0]["number"] == number
    # `/` by itself is as good as `%2F`, and so is a character that need not be encoded.
    assert as_alice.get(f"orders/{quote(number, safe='/+:@')}").json["status"] == "delivered"
    [link] = re.findall(r'data-slot="link" href="([^"]*)"', in_browser.get("/").content.decode())
    assert link.replace("&#x27;", "'") == f"/orders/{encoded(number)}"
    page = in_browser.get(f"/orders/{encoded(number)}")
    assert (page.status_code, page.context["order"].number) == (200, number)
    assert in_browser.get("/updates").content.decode().count(f'href="{link}"') == 3


@pytest.mark.parametrize("number", NUMBERS)
def test_an_order_is_reached_under_the_shops_own_number(as_staff: Api, as_alice: Api, in_browser: Client, number: str):
    assert_reached(number, as_staff, as_alice, in_browser)


@pytest.mark.parametrize("number", NUMBERS)
def test_who_has_to_log_in_first_comes_to_the_order(client: Client, alice: User, number: str):
    services.create_order(number=number, customer="alice")
    asked = client.get(f"/orders/{encoded(number)}")
    form = client.get(asked.headers["Location"]).context["next"]
    entered = client.post("/login", {"username": "alice", "password": "demo", "next": form})
    assert client.get(entered.headers["Location"]).context["order"].number == number


def is_possible(number: str) -> bool:
    try:
        numbers.check_number(number)
    except Exception:
        return False
    return 0 < len(number) <= numbers.MAX_NUMBER


TEXTS = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("/.%#?+ \\;:&=")), max_size=64)


@given(TEXTS.map(numbers.spelled).filter(is_possible))
@example("a/.../b")
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
def test_whatever_number_is_accepted_is_reached(as_staff: Api, as_alice: Api, in_browser: Client, number: str):
    Order.objects.all().delete()
    Notification.objects.all().delete()
    assert_reached(number, as_staff, as_alice, in_browser)


@pytest.mark.parametrize(
    ("typed", "kept"), [("O\u0308-17", "Ö-17"), ("  SO-9 ", "SO-9"), ("\u2126-1", "Ω-1"), ("007", "007")]
)
def test_a_number_has_one_spelling(as_staff: Api, typed: str, kept: str):
    assert as_staff.post("orders", {"number": typed, "customer": "alice"}).json["number"] == kept
    assert as_staff.post("orders", {"number": kept, "customer": "alice"}).code == "number_taken"
    for number in (typed.strip(), kept):
        assert as_staff.get(f"orders/{encoded(number)}").json["number"] == kept


def test_case_and_leading_zeros_count(as_staff: Api):
    for number in ("a-1", "A-1", "7", "07", "ß", "SS"):
        assert as_staff.post("orders", {"number": number, "customer": "alice"}).status == 201
        assert as_staff.get(f"orders/{encoded(number)}").json["number"] == number


def test_in_a_batch_an_impossible_number_is_invalid(as_staff: Api, order: Order):
    given_numbers = ["SO-1", "SO-404", "A//1", "SO-1\u200b", "x" * 65, "batch", " SO-1 "]
    changes = [{"number": number, "status": "shipped"} for number in given_numbers]
    results = as_staff.post("orders/batch", {"changes": changes}).json["results"]
    codes = [result.get("problem", {}).get("code") for result in results]
    assert codes == [None, "not_found", "invalid", "invalid", "invalid", "invalid", None]


def test_our_own_last_parts_are_those_of_the_routes():
    """Otherwise an order with such a number could not be reached."""
    found = set()
    for route in routes(get_resolver().url_patterns):
        if re.match(r"(api/v1/)?orders/", route):
            found.add(re.sub(r".*/", "", route.replace(numbers.IN_ROUTE, "")))
    assert {part for part in found if part.isidentifier()} <= numbers.OWN_LAST_PARTS
    assert {"batch", "history"} <= found


def routes(patterns: list[Any], before: str = "") -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        route = before + str(pattern.pattern).lstrip("^").removesuffix("$").removesuffix("\\Z")
        if isinstance(pattern, URLResolver):
            found += routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            found.append(route)
    return found


def test_an_order_whose_number_became_an_address_of_ours_is_still_there(as_staff: Api, alice: User):
    Order(number="history", customer=alice).save()
    assert as_staff.get("orders/history").json["number"] == "history"
    assert as_staff.get("orders/history/history").status == 200


def test_a_number_is_found_in_any_spelling_on_the_board_and_in_the_admin(as_staff: Api, staff: User, settings: Any):
    settings.WHITENOISE_AUTOREFRESH = True
    for number, customer in (("Ö/17 b", "Åsa"), ("A-1", "bob")):
        as_staff.post("orders", {"number": number, "customer": customer})
    client = Client()
    client.force_login(staff)
    for typed in ("Ö/17", "O\u0308/17 b", "Åsa", "A\u030asa"):
        for path in ("/board", "/admin/orders/order/"):
            page = client.get(path, {"q": typed}).content.decode()
            assert "Ö/17 b" in page, (path, typed)
            assert ">A-1<" not in page, (path, typed)


def test_the_database_takes_no_number_that_no_address_has(alice: User, db: None):
    assert unicodedata.normalize("NFC", "Ö") == unquote(numbers.in_path("Ö"))
    saved = Order(number=" O\u0308 ", customer=alice)
    saved.save()
    assert saved.number == "Ö"
    for number in ("/A", "A/", "A//B", ""):
        with pytest.raises(Exception, match="order_number"):
            services.create_order(number=number, customer="alice")
