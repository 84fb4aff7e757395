"""Whatever is sent, the answer is a problem that says where in the body it is, and nothing is half-written."""

import json
import uuid
from base64 import b64encode
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import AbstractUser, Permission
from django.test import Client

from notifications.models import Notification
from orders.models import Order
from tests.api.client import Api

NEW = {"number": "SO-9", "customer": "alice"}


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("status", "flying", "invalid_choice"),
        ("status", {"a": 1}, "invalid_choice"),
        ("status", ["shipped"], "invalid_choice"),
        ("carrier", 5, "invalid"),
        ("carrier", True, "invalid"),
        ("placed_at", None, "null"),
        ("status", None, "null"),
        ("notify", None, "null"),
        ("carrier", "x" * 65, "max_length"),
        ("carrier", ["DHL"], "invalid"),
        ("tracking_number", "1\u0000", "control_character"),
        ("tracking_number", "1\u001b[31m", "control_character"),
        ("tracking_number", "1\u0085", "control_character"),
        ("carrier", "\ud800", "control_character"),
        ("tracking_url", "javascript:alert(1)", "invalid"),
        ("tracking_url", "ftp://shop.example/1", "invalid"),
        ("tracking_url", "https://shop.example/" + "x" * 500, "max_length"),
        ("estimated_delivery", "2026-02-30", "invalid"),
        ("estimated_delivery", "tomorrow", "invalid"),
        ("estimated_delivery", 20260301, "invalid"),
        ("occurred_at", "2026-03-01T12:00:00", "no_zone"),
        ("occurred_at", "2026-03-01", "no_zone"),
        ("occurred_at", "2026-03-01T25:00:00Z", "invalid"),
        ("occurred_at", "0001-01-01T00:00:00+14:00", "overflow"),
        ("occurred_at", 1772366400, "invalid"),
        ("occurred_at", "2999-01-01T00:00:00Z", "occurred_in_future"),
        ("placed_at", "2026-03-01T12:00:00", "no_zone"),
        ("currency", "eur", "invalid"),
        ("currency", "€", "invalid"),
        ("total", "NaN", "invalid"),
        ("total", "Infinity", "invalid"),
        ("total", "-1", "min_value"),
        ("total", "1.00005", "max_decimal_places"),
        ("total", "999999999999", "max_whole_digits"),
        ("total", "9999999999999999", "max_digits"),
        ("total", True, "invalid"),
        ("total", "", "invalid"),
        ("total", "  ", "invalid"),
        ("total", ".", "invalid"),
        ("total", "1_0", "invalid"),
        ("total", "1e2", "invalid"),
        ("total", "\u0661\u0662", "invalid"),
        ("total", 10**20, "number_out_of_range"),
        ("notify", "yes", "invalid"),
        ("notify", 1, "invalid"),
        ("note", "x" * 501, "max_length"),
        ("items", {"sku": "TEA"}, "not_a_list"),
        ("items", [{"sku": "TEA", "name": "Tea", "quantity": 1}] * 501, "max_length"),
        ("metadata", ["a"], "not_a_dict"),
        ("metadata", {"a": "x" * 9_000}, "max_length"),
        ("number", "SO-2", "number_differs"),
        ("version", 1, "unknown_field"),
        ("stauts", "shipped", "unknown_field"),
        ("non/field~errors", "shipped", "unknown_field"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_pointer(
    as_staff: Api, order: Order, field: str, value: Any, code: str
):
    body = {"status": "shipped", field: value}
    answer = as_staff.patch("orders/SO-1", body)
    pointer = "/" + field.replace("~", "~0").replace("/", "~1")
    assert (answer.status, answer.errors) == (400, {(pointer, code)})
    order.refresh_from_db()
    assert order.version == 1


@pytest.mark.parametrize(
    ("number", "customer", "pointer"),
    [
        ("../9", "alice", "/number"),
        ("A/./9", "alice", "/number"),
        ("A/..", "alice", "/number"),
        (".", "alice", "/number"),
        ("/9", "alice", "/number"),
        ("9/", "alice", "/number"),
        ("A//9", "alice", "/number"),
        ("batch", "alice", "/number"),
        ("A/history", "alice", "/number"),
        ("SO\n9", "alice", "/number"),
        ("SO\u00a09", "alice", "/number"),
        ("SO\u202e9", "alice", "/number"),
        ("SO\u200b9", "alice", "/number"),
        ("", "alice", "/number"),
        ("x" * 65, "alice", "/number"),
        (9, "alice", "/number"),
        ("SO-9", "", "/customer"),
        ("SO-9", " \u200d ", "/customer"),
        ("SO-9", "a\nb", "/customer"),
        ("SO-9", "a\u202eb", "/customer"),
        ("SO-9", "a\u200bb", "/customer"),
        ("SO-9", "a" * 151, "/customer"),
        # Written out, it is longer than what is sent.
        ("SO-9", "x" * 140 + "\ufb03" * 10, "/customer"),
        ("SO-9", None, "/customer"),
    ],
)
def test_a_key_that_cannot_be_is_refused(as_staff: Api, number: Any, customer: Any, pointer: str):
    answer = as_staff.post("orders", {"number": number, "customer": customer})
    assert answer.status == 400
    assert [found for found, _ in answer.errors] == [pointer]
    assert not Order.objects.exists()


def test_every_wrong_field_is_named_at_once(as_staff: Api):
    items = [{"sku": "TEA", "name": "Tea", "quantity": 1}, {"sku": "POT", "quantity": "1.5", "colour": "red"}]
    answer = as_staff.post("orders", {"number": "", "items": items, "a": 1})
    assert answer.errors == {
        ("/number", "blank"),
        ("/customer", "required"),
        ("/items/1/name", "required"),
        ("/items/1/quantity", "invalid"),
        ("/items/1/colour", "unknown_field"),
        ("/a", "unknown_field"),
    }


@pytest.mark.parametrize(
    ("line", "field", "code"),
    [
        ({"quantity": 0}, "quantity", "min_value"),
        ({"quantity": -0.5}, "quantity", "min_value"),
        ({"quantity": 1e-400}, "quantity", "min_value"),
        ({"quantity": 1_000_000.5}, "quantity", "max_value"),
        ({"quantity": "0.5"}, "quantity", "invalid"),
        ({"quantity": True}, "quantity", "invalid"),
        ({"quantity": None}, "quantity", "null"),
        ({"name": ""}, "name", "blank"),
        ({"name": "x" * 501}, "name", "max_length"),
        ({"sku": "x" * 65}, "sku", "max_length"),
        ({"sku": 5}, "sku", "invalid"),
    ],
)
def test_a_line_that_cannot_be_is_refused(as_staff: Api, order: Order, line: dict[str, Any], field: str, code: str):
    answer = as_staff.patch("orders/SO-1", {"items": [{"name": "Tea", "quantity": 1, **line}]})
    assert (answer.status, answer.errors) == (400, {(f"/items/0/{field}", code)})


def test_what_is_said_of_a_status_is_refused_without_one(as_staff: Api, order: Order):
    said = {"note": "Two parcels", "occurred_at": "2026-03-01T12:00:00Z"}
    answer = as_staff.patch("orders/SO-1", {**said, "carrier": "DHL"})
    assert (answer.status, answer.errors) == (400, {("/note", "without_status"), ("/occurred_at", "without_status")})
    order.refresh_from_db()
    assert order.version == 1


def test_a_note_may_have_what_people_write(as_staff: Api, order: Order):
    note = "Left at the door 📦\n玄関先に置きました\tok"
    assert as_staff.patch("orders/SO-1", {"status": "shipped", "note": note}).status == 200
    assert as_staff.get("orders/SO-1/history").json["results"][0]["note"] == note


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        (b"{", "", "malformed_json"),
        (b"\xff\xfe", "", "not_utf8"),
        (b"null", "", "not_an_object"),
        (b"[]", "", "not_an_object"),
        (b'"shipped"', "", "not_an_object"),
        (b"5", "", "not_an_object"),
        (b'{"total": NaN}', "", "malformed_json"),
        (b'{"total": -Infinity}', "", "malformed_json"),
        (b'{"metadata": {"a": 1e999}}', "/metadata/a", "number_out_of_range"),
        (b'{"metadata": {"a": [0, 9007199254740993]}}', "/metadata/a/1", "number_out_of_range"),
        (b'{"metadata": {"a": ' + b"9" * 5_000 + b"}}", "", "malformed_json"),
        (b'{"metadata": {"a\\u0000": 1}}', "/metadata", "control_character"),
        (b'{"metadata": {"a": "\\ud800"}}', "/metadata/a", "control_character"),
        (b'{"status": "shipped", "status": "cancelled"}', "", "malformed_json"),
        (b'{"metadata": ' + b'{"a": ' * 20 + b"1" + b"}" * 20 + b"}", "/metadata" + "/a" * 15, "too_deep"),
        (b'{"metadata": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "", "too_deep"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(as_staff: Api, order: Order, body: bytes, pointer: str, code: str):
    answer = as_staff.patch("orders/SO-1", body)
    assert (answer.status, answer.errors) == (400, {(pointer, code)})


def test_a_byte_order_mark_is_ignored(as_staff: Api, order: Order):
    assert as_staff.patch("orders/SO-1", b'\xef\xbb\xbf{"status": "shipped"}').status == 200


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "nonsense"]
)
def test_what_is_not_json_is_415(as_staff: Api, order: Order, content_type: str):
    answer = as_staff.call("PATCH", "orders/SO-1", b'{"status": "shipped"}', content_type=content_type)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("size", [2_000_001, 3_000_000])
def test_a_body_over_two_megabytes_is_413(as_staff: Api, size: int):
    padding = size - len(json.dumps({**NEW, "note": ""}))
    answer = as_staff.post("orders", {**NEW, "note": "x" * padding})
    assert (answer.status, answer.code) == (413, "body_too_large")


@pytest.mark.parametrize(
    "cursor", ["-1", "%00", "bz0tMQ==", "cD1ub3RoaW5n", "cD0yMDI2LTAzLTAx", "bz05OTk5OTk5OTk5OTk5OTk5OTk5OTk5&x"]
)
def test_a_cursor_that_is_not_ours_is_refused(as_staff: Api, cursor: str):
    answer = as_staff.get(f"orders?cursor={cursor}")
    assert answer.status == 400
    assert {pointer for pointer, _ in answer.errors} <= {"/cursor", "/x"}


#: A cursor as a page gives it.
PLACE = {"p": "2026-03-01 12:00:00+00:00", "k": "7"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"p": ""},
        {"p": "2026-03-01 12:00:00"},
        {"p": "2026-02-30 12:00:00+00:00"},
        {"p": "0001-01-01 00:00:00+14:00"},
        {"p": "9999-12-31 23:59:59-14:00"},
        {"p": "2026-01-01 00:00:00+23:59"},
        {"k": ""},
        {"k": "-1"},
        {"k": "9223372036854775808"},
        {"k": "9" * 1_000},
        {"k": "\u0661"},
        {"r": "2"},
        {"x": ""},
        {"x": "1..2"},
        {"x": ".".join(["1"] * 101)},
        {"y": "1"},
    ],
)
def test_a_cursor_that_no_page_gave_is_refused(as_staff: Api, wrong: dict[str, str]):
    for parts, status in ((PLACE, 200), ({**PLACE, **wrong}, 400)):
        cursor = b64encode(urlencode(parts).encode()).decode()
        answer = as_staff.get(f"orders?{urlencode({'cursor': cursor})}")
        assert answer.status == status
    assert answer.errors == {("/cursor", "invalid")}


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("orders?status=flying", "/status"),
        ("orders?customer=%00", "/customer"),
        ("orders?updated_since=yesterday", "/updated_since"),
        ("orders?updated_since=2026-03-01T00:00:00", "/updated_since"),
        ("orders?updated_since=0001-01-01T00:00:00%2B14:00", "/updated_since"),
        ("orders?limit=0", "/limit"),
        ("orders?limit=201", "/limit"),
        ("orders?limit=many", "/limit"),
        ("orders?limit=", "/limit"),
        ("orders?limit=1.0", "/limit"),
        ("orders?limit=%D9%A1", "/limit"),
        ("orders?status=", "/status"),
        ("orders?customer=", "/customer"),
        ("orders?customer=alice&customer=%20", "/customer"),
        ("orders?updated_since=", "/updated_since"),
        ("orders?cursor=", "/cursor"),
        ("orders?order_by=price", "/order_by"),
        ("orders?order_by=", "/order_by"),
        ("orders?order_by=updated&cursor=bj1hJnQ9MQ==", "/cursor"),
        ("orders?order_by=updated&limit=0", "/limit"),
        ("orders?number=", "/number"),
        (f"orders?{'&'.join(f'number=SO-{n}' for n in range(101))}", "/number"),
        ("orders?stauts=shipped", "/stauts"),
        ("notifications?after=-1", "/after"),
        ("notifications?after=9223372036854775808", "/after"),
        ("notifications?limit=0", "/limit"),
        ("notifications?limit=1.0", "/limit"),
        ("notifications?after=%D9%A1", "/after"),
        ("notifications?atfer=1", "/atfer"),
    ],
)
def test_a_query_that_cannot_be_is_refused(as_staff: Api, query: str, pointer: str):
    answer = as_staff.get(query)
    assert answer.status == 400
    assert [found for found, _ in answer.errors] == [pointer]


@pytest.mark.parametrize(
    "number",
    ["%00", "x" * 65, "%F0%9F%93%A6", "SO-404", "..", "A//B", "A%2F%2FB", "SO-1%0A", "A%2Fhistory", "SO-1/", "%FF"],
)
def test_an_order_that_cannot_exist_is_not_found(as_staff: Api, order: Order, number: str):
    answer = as_staff.get(f"orders/{number}")
    assert (answer.status, answer.code) == (404, "not_found")
    assert as_staff.get("nothing").code == "not_found"


@pytest.mark.parametrize("debug", [True, False])
def test_what_no_view_answers_is_a_problem_too(as_nobody: Api, settings: Any, debug: bool):
    settings.DEBUG = debug
    answer = as_nobody.get("/api/nothing")
    assert (answer.status, answer.code) == (404, "not_found")
    assert as_nobody.get("/api/v1/orders", Host="evil.example").code == "bad_request"


@pytest.mark.django_db
@pytest.mark.parametrize(("method", "path"), [("PUT", "orders"), ("DELETE", "orders"), ("TRACE", "orders")])
def test_a_method_that_is_not_there_is_405(as_staff: Api, method: str, path: str):
    answer = as_staff.call(method, path)
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["docs", "asyncapi.yaml", "schema"])
def test_a_document_is_only_read(as_nobody: Api, method: str, path: str):
    as_nobody.client = Client(enforce_csrf_checks=True)
    answer = as_nobody.call(method, path)
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


def test_a_refused_order_leaves_nothing_behind(as_staff: Api, order: Order, staff: AbstractUser):
    staff.user_permissions.remove(Permission.objects.get(codename="override_status"))
    before = Notification.objects.count()
    assert as_staff.post("orders", {"number": "SO-1", "customer": "alice"}).errors == {("/number", "number_taken")}
    assert as_staff.patch("orders/SO-1", {"status": "returned"}).json["allowed"] == [
        "processing",
        "on_hold",
        "shipped",
        "out_for_delivery",
        "delivered",
        "cancelled",
    ]
    assert Notification.objects.count() == before


@pytest.mark.parametrize("given", ["trace-1", "a" * 64])
def test_a_request_id_is_given_back(as_nobody: Api, given: str):
    answer = as_nobody.get("nothing", X_Request_ID=given)
    assert answer.headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "a" * 65, "a b", "a\x1b", "ä"])
def test_a_request_id_that_could_forge_a_log_is_replaced(as_nobody: Api, given: str):
    answer = as_nobody.get("nothing", X_Request_ID=given)
    assert uuid.UUID(answer.headers["X-Request-ID"]).version == 4


def test_a_token_that_is_none_is_401_and_says_why(as_nobody: Api, db: None):
    for token in ("0" * 64, "nonsense", "\xff"):
        answer = as_nobody.get("orders", Authorization=f"Bearer {token}")
        assert (answer.status, answer.code) == (401, "invalid_token")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert as_nobody.get("orders").code == "not_authenticated"
