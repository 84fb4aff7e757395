"""Everything that anybody can send, filled with what is slow to read: it is answered, and shortly.

The generated attacks are of a size that takes whatever grows with its square half a minute of CPU, with the lock that
stops every other thread. A watchdog on the CPU time of this process ends such a test; what is linear takes a hundredth.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.test import Client
from django.urls import reverse

from api.batch import LineSerializer
from api.messages import NewMessageSerializer
from api.serializers import NewOrderSerializer, OrderUpdateSerializer, PutOrderSerializer
from api.tickets import TicketSerializer
from orders.models import Order
from tests.api.client import Answer, Api
from tests.deployment import Web

SIZE = 120_000
#: Seconds of CPU, of which every test here takes a fraction.
WATCHDOG = 15.0
ATTACKS: dict[str, str] = {
    "combining marks": "a" + "\u0300\u0316" * (SIZE // 2),
    "wide letters": "\ufdfa" * SIZE,
    "digits": "9" * SIZE,
    "digits and a letter": "1" * SIZE + "x",
    "an exponent": "1e" + "9" * SIZE,
    "quotes": '"' * SIZE,
    "backslashes": '"' + "\\" * SIZE + '"',
    "brackets": "[" * SIZE,
    "braces": '{"a":' * (SIZE // 5),
    "per cent signs": "%" * SIZE,
    "spaces": " " * SIZE + "x",
    "dots": "a." * (SIZE // 2),
    "commas": "a/b;q=1," * (SIZE // 8),
    "colons": "2026-01-01T00:00:00." + "0" * SIZE,
}
attack = pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS.keys())


@pytest.fixture(autouse=True)
def _watchdog() -> Iterator[None]:
    def bark(*_: Any) -> None:
        raise AssertionError(f"more than {WATCHDOG} s of CPU")

    before = signal.signal(signal.SIGVTALRM, bark)
    signal.setitimer(signal.ITIMER_VIRTUAL, WATCHDOG)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


def fields_of(serializer: Any) -> list[str]:
    return [name for name, field in serializer.fields.items() if not field.read_only]


BODIES = [
    *[("POST", "orders", {"number": "SO-9", "customer": "alice"}, name) for name in fields_of(NewOrderSerializer())],
    *[("PATCH", "orders/SO-1", {}, name) for name in fields_of(OrderUpdateSerializer())],
    *[("POST", "orders/SO-1/messages", {"text": "Hello"}, name) for name in fields_of(NewMessageSerializer())],
    *[("PUT", "orders/SO-1", {}, name) for name in fields_of(PutOrderSerializer())],
    *[("POST", "tickets", {}, name) for name in fields_of(TicketSerializer())],
    ("POST", "tickets/exchange", {}, "ticket"),
    ("POST", "notifications/read", {}, "up_to"),
    ("POST", "orders/batch", {}, "changes"),
    ("POST", "orders/batch", {}, "orders"),
]
QUERIES = [
    (
        "orders",
        ["number", "status", "order_by", "customer", "updated_since", "waiting", "cursor", "limit", "unheard-of"],
    ),
    ("orders/SO-1/messages", ["cursor", "limit", "unheard-of"]),
    ("notifications", ["after", "limit", "wait", "stream"]),
]
HEADERS = [
    "X-Request-ID",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Authorization",
    "Accept",
    "Accept-Language",
    "Content-Type",
    "Origin",
    "Referer",
    "X-CSRFToken",
]


def raw(body: dict[str, Any]) -> bytes:
    """In UTF-8, which takes a third of what escapes take."""
    return json.dumps(body, ensure_ascii=False).encode()


def assert_short(answer: Answer) -> None:
    assert answer.status < 500, answer
    assert len(answer.content) < 20_000


@attack
def test_every_field_of_every_body(as_staff: Api, order: Order, text: str):
    for method, path, around, name in BODIES:
        answer = as_staff.call(method, path, raw({**around, name: text}))
        assert_short(answer)
        # Blanks around a text are cut off, however many.
        assert answer.status in (400, 409) or text.strip() != text, (method, path, name)
    for name in fields_of(LineSerializer()):
        line = {"number": "SO-1", "status": "shipped", name: text}
        answer = as_staff.post("orders/batch", raw({"changes": [line]}))
        assert_short(answer)
        assert answer.json["refused"] == 1 or text.strip() != text, name


@attack
def test_every_parameter_of_every_query(as_staff: Api, order: Order, text: str):
    for path, names in QUERIES:
        for name in names:
            for short in (text, text[:1_500]):
                query = httpx.QueryParams({name: short})
                assert_short(as_staff.get(f"{path}?{query}"))


@attack
def test_every_header(as_staff: Api, order: Order, text: str):
    value = text.encode("latin-1", "replace").decode("latin-1")
    for name in HEADERS:
        answer = as_staff.call("PATCH", "orders/SO-1", {"carrier": "DHL"}, **{name.replace("-", "_"): value})
        assert_short(answer)


@attack
def test_every_form_and_search_of_the_pages(admin_client: Client, order: Order, settings: Any, text: str):
    settings.WHITENOISE_AUTOREFRESH = True
    settings.LOGIN_RATE = settings.LOGIN_RATE_PER_ADDRESS = None
    for page in (reverse("login"), reverse("admin:login")):
        for field in ("username", "password", "next"):
            answer = Client().post(page, {"username": "alice", "password": "guessed", field: text})
            assert answer.status_code == 200, (page, field)
    assert admin_client.post("/updates/read", {"up_to": text}).status_code == 302
    for field in ("text", "client_id"):
        answer = admin_client.post("/orders/SO-1", {"text": "Hello", field: text})
        assert answer.status_code in (302, 400), field
    user = {"username": text, "password1": "a new passw0rd", "password2": "a new passw0rd", "usable_password": "true"}
    assert admin_client.post("/admin/auth/user/add/", user).status_code == (200 if text.strip() == text else 302)
    for path, name in (("/", "page"), ("/board", "q"), ("/admin/orders/order/", "q"), ("/login", "next")):
        for short in (text, text[:300]):
            assert admin_client.get(path, {name: short}).status_code in (200, 302, 400, 414), path


def test_names_as_long_as_the_body_are_not_copied_for_each_value(as_staff: Api):
    body = {"n" * 300_000: {"m" * 300_000: [1] * 120_000 + ["\x01"]}}
    answer = as_staff.post("orders", body)
    assert answer.errors == {("/" + "n" * 199, "control_character")}
    assert_short(answer)


def test_a_megabyte_of_mistakes_is_answered_by_a_few_of_them(as_staff: Api):
    unknown = {f"u{number}": 0 for number in range(90_000)}
    assert_short(as_staff.post("orders", unknown))
    assert_short(as_staff.post("orders", {"number": "SO-9", "customer": "alice", "items": [unknown]}))
    assert_short(as_staff.post("orders", {"items": [{}] * 200}))
    few = {f"u{number}": 0 for number in range(60)}
    answer = as_staff.post("orders/batch", {"changes": [few] * 1_000})
    assert answer.json["refused"] == 1_000
    assert len(answer.content) < 1_000_000


async def test_a_cookie_is_read_in_no_time_by_sockets_and_by_pages(web: Web) -> None:
    headers = {"Cookie": 'orderwire_session="' + '\\"' * 30_000}
    async with httpx.AsyncClient(base_url=web.url, headers=headers, timeout=20) as client:
        for path in ("/", "/api/v1/orders", "/api/v1/stream"):
            answer = await client.get(path)
            assert answer.status_code in (302, 400, 401, 403, 431), (path, answer)


def test_the_watchdog_barks() -> None:
    """Otherwise none of the above would say anything."""
    with pytest.raises(AssertionError, match="of CPU"):
        use_up_the_time()


def use_up_the_time() -> None:
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.05)
    while True:
        json.dumps([1])
