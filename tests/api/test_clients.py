"""What clients are like: small letters in times, blanks for pluses, bodies in pieces, tags as proxies leave them."""

import gzip
import json
from typing import Any

import pytest
from django.test import Client

from orders.models import Order
from tests.api.client import JSON, Api

# Tags.


@pytest.mark.parametrize("unquoted", ["1", "1, 2", '"1', "W/1", '1, "1"', '"1" "2"', "", "nonsense"])
def test_a_tag_without_its_quotes_is_refused_and_not_left_out(as_staff: Api, order: Order, unquoted: str):
    answer = as_staff.patch("orders/SO-1", {"carrier": "DHL"}, If_Match=unquoted)
    assert (answer.status, answer.errors) == (400, {("/If-Match", "invalid")})
    order.refresh_from_db()
    assert order.carrier == ""


@pytest.mark.parametrize("stale", ['"7"', '"abc"', 'W/"1"'])
def test_a_412_brings_the_tag_that_the_order_has(as_staff: Api, order: Order, stale: str):
    refused = as_staff.patch("orders/SO-1", {"carrier": "DHL"}, If_Match=stale)
    assert (refused.status, refused.headers["ETag"]) == (412, '"1"')
    assert as_staff.patch("orders/SO-1", {"carrier": "DHL"}, If_Match=refused.headers["ETag"]).status == 200


def test_a_weak_tag_is_told_why_it_never_matches(as_staff: Api, order: Order):
    assert "W/" in as_staff.patch("orders/SO-1", {"carrier": "DHL"}, If_Match='W/"1"').json["detail"]
    assert "W/" not in as_staff.patch("orders/SO-1", {"carrier": "DHL"}, If_Match='"7"').json["detail"]


# Times.


@pytest.mark.parametrize("small", ["2026-03-01t12:00:00z", "2026-03-01T12:00:00z", "2026-03-01t13:00:00+01:00"])
def test_a_time_may_have_small_letters(as_staff: Api, order: Order, small: str):
    answer = as_staff.patch("orders/SO-1", {"placed_at": small})
    assert answer.json["placed_at"] == "2026-03-01T12:00:00.000000Z"


def test_a_plus_in_a_query_is_explained(as_staff: Api, order: Order):
    refused = as_staff.get("orders?updated_since=2026-03-01T12:00:00+01:00")
    assert refused.errors == {("/updated_since", "blank_for_plus")}
    assert "%2B" in refused.json["errors"][0]["detail"]
    assert as_staff.get("orders?updated_since=2026-03-01T12:00:00%2B01:00").status == 200


# Bodies.


def test_an_integer_may_be_written_with_a_fraction_of_zero(as_alice: Api):
    assert as_alice.post("notifications/read", b'{"up_to": 0.0}').json["up_to"] == 0
    assert as_alice.post("notifications/read", b'{"up_to": 0.5}').errors == {("/up_to", "invalid")}


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "identity, gzip"])
def test_a_compressed_body_is_415_and_told_what_is_taken(as_staff: Api, order: Order, encoding: str):
    body = gzip.compress(b'{"carrier": "DHL"}')
    refused = as_staff.call("PATCH", "orders/SO-1", body, Content_Encoding=encoding)
    assert (refused.status, refused.code) == (415, "unsupported_content_encoding")
    assert refused.headers["Accept-Encoding"] == "identity"
    assert as_staff.patch("orders/SO-1", {"carrier": "DHL"}, Content_Encoding="identity").status == 200


def test_a_change_without_a_body_is_a_mistake(as_staff: Api, order: Order):
    answer = as_staff.patch("orders/SO-1")
    assert (answer.status, answer.code) == (400, "body_missing")
    assert as_staff.patch("orders/SO-1", {}).status == 200


# Types and methods.


@pytest.mark.parametrize(
    "accept", ["application/problem+json", "Application/Problem+JSON; q=0.5, text/html", "application/json"]
)
def test_a_client_may_ask_for_problems_and_gets_json_when_there_is_none(as_alice: Api, order: Order, accept: str):
    good = as_alice.get("orders/SO-1", Accept=accept)
    assert (good.status, good.type) == (200, JSON)
    assert as_alice.get("orders/SO-404", Accept=accept).code == "not_found"


def test_what_is_no_json_cannot_be_had(as_alice: Api):
    for accept in ("text/html", "application/problem+xml", "application/problem+jsonx"):
        assert as_alice.get("orders", Accept=accept).code == "not_acceptable"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("orders", {"GET", "POST"}),
        ("orders/SO-1", {"GET", "PATCH"}),
        ("orders/batch", {"POST"}),
        ("tokens", {"GET"}),
        ("docs", {"GET"}),
    ],
)
def test_options_tells_the_methods_and_so_does_every_405(as_staff: Api, order: Order, path: str, methods: set[str]):
    told = as_staff.call("OPTIONS", path)
    assert (told.status, told.content) == (200, b"")
    refused = [as_staff.call(method, path) for method in ("TRACE", "LINK")]
    assert {answer.code for answer in refused} == {"method_not_allowed"}
    for answer in (told, *refused):
        allowed = set(answer.headers["Allow"].split(", "))
        assert methods <= allowed <= methods | {"HEAD", "OPTIONS", "PUT", "DELETE"}


# Addresses that there are none of.


@pytest.fixture
def nothing_collected(settings: Any) -> None:
    """As in production before `collectstatic`: a page that needs a static file cannot be made."""
    settings.DEBUG = False
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": "config.storage.StaticFilesStorage"}}


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/orders", "/api/v1/nothing", "/api/v1/orders/SO-1//nothing"],
)
def test_an_unknown_address_is_a_problem_before_static_files_are_collected(
    as_staff: Api, order: Order, nothing_collected: None, path: str
):
    for method in ("GET", "POST", "DELETE"):
        answer = as_staff.call(method, path)
        assert (answer.status, answer.code) == (404, "not_found")


def test_a_bug_of_ours_is_a_problem_before_static_files_are_collected(
    as_staff: Api, nothing_collected: None, monkeypatch: pytest.MonkeyPatch
):
    def broken(user: Any) -> Any:
        raise LookupError("a bug")

    monkeypatch.setattr("api.views.orders_visible_to", broken)
    as_staff.client = Client(raise_request_exception=False)
    assert as_staff.get("orders").code == "internal_server_error"


@pytest.mark.parametrize("path", ["orders/", "orders/SO-1/", "tokens/", "docs/", "notifications/unread-count/"])
def test_a_slash_at_the_end_is_a_problem_that_says_so(as_staff: Api, order: Order, nothing_collected: None, path: str):
    for method in ("GET", "POST", "PATCH"):
        answer = as_staff.call(method, path, json.loads("{}"))
        assert answer.code == "not_found"
        assert "slash" in answer.json["detail"]


def test_a_page_that_is_not_there_is_no_problem(client: Client, db: None):
    assert client.get("/apiary").headers["Content-Type"].startswith("text/html")
