"""Raw SQL wrote into an order what no page expects: its neighbours are shown all the same, and so is the order.

And what PostgreSQL can hold and Python cannot read, the database refuses.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse

from orders import services
from orders.models import Order
from orders.selectors import snapshot
from tests.api.client import Api

SHAPES = [
    "null",
    "true",
    "0",
    "-1.5e300",
    '"abc"',
    "{}",
    '{"name": "Tea", "quantity": 1}',
    "[]",
    "[[]]",
    "[null]",
    "[1, 2]",
    '["Tea"]',
    "[{}]",
    '[{"name": "Tea"}]',
    '[{"quantity": 1}]',
    '[{"name": 5, "quantity": 1}]',
    '[{"name": "Tea", "quantity": "2"}]',
    '[{"name": "Tea", "quantity": true}]',
    '[{"name": {}, "quantity": []}]',
    '[{"name": "Tea", "quantity": -0.5}]',
    '[{"name": "Tea", "quantity": 1e300}]',
    '[{"name": "Tea", "quantity": 1, "sku": {}}]',
    "[" * 900 + "]" * 900,
    '{"a":' * 900 + "1" + "}" * 900,
    "9" * 5000,
    f"[{','.join(['[]'] * 5000)}]",
]


@pytest.fixture
def neighbours(alice: User) -> list[Order]:
    items = [{"sku": "TEA-01", "name": "Assam tea", "quantity": 2}]
    return [services.create_order(number=f"SO-{n}", customer="alice", items=items) for n in range(3)]


def write(column: str, value: str, *, number: str = "SO-1") -> None:
    with connection.cursor() as cursor:
        cast = "::jsonb" if connection.vendor == "postgresql" and column in ("items", "metadata") else ""
        cursor.execute(f"UPDATE orders_order SET {column} = %s{cast} WHERE number = %s", [value, number])


def see_everything(alice: User, staff: User, settings: Any) -> dict[str, str]:
    """Every page and answer that shows orders, by its path."""
    settings.WHITENOISE_AUTOREFRESH = True
    seen = {}
    pk = Order.objects.values_list("pk", flat=True).get(number="SO-1")
    change = reverse("admin:orders_order_change", args=[pk])
    for user, paths in (
        (alice, ["/", "/orders/SO-1", "/updates"]),
        (staff, ["/board", "/board?q=SO", reverse("admin:orders_order_changelist"), change]),
    ):
        client = Client()
        client.force_login(user)
        for path in paths:
            answer = client.get(path)
            assert answer.status_code == 200, path
            seen[path] = answer.content.decode()
    for path in ("orders", "orders/SO-1", "orders/SO-1/history"):
        told = Api(alice).get(path)
        assert told.status == 200, told
        seen[path] = told.content.decode()
    return seen


@pytest.mark.parametrize("column", ["items", "metadata"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape[:30])
def test_an_order_of_any_shape_takes_no_page_with_it(
    neighbours: list[Order], alice: User, staff: User, settings: Any, column: str, shape: str
):
    write(column, shape)
    seen = see_everything(alice, staff, settings)
    for path in ("/", "/board", "/board?q=SO", "orders"):
        for number in ("SO-0", "SO-1", "SO-2"):
            assert number in seen[path]
    for order in json.loads(seen["orders"])["results"]:
        assert isinstance(order["metadata"], dict)
        assert all(
            isinstance(line["name"], str) and isinstance(line["quantity"], int | float) for line in order["items"]
        )
    # It goes on as any other: a change is saved, and told.
    outcome = services.change_status(order=neighbours[1], to="shipped")
    json.dumps(snapshot(outcome.order))
    see_everything(alice, staff, settings)


@pytest.mark.parametrize("address", ["javascript:alert(1)", " JavaScript:alert(1)", "data:text/html,x", "//evil", "x"])
def test_an_address_that_is_none_of_the_web_is_no_link(
    neighbours: list[Order], alice: User, staff: User, settings: Any, address: str
):
    write("tracking_url", address)
    seen = see_everything(alice, staff, settings)
    assert f'href="{address}' not in seen["/orders/SO-1"]
    assert json.loads(seen["orders/SO-1"])["tracking_url"] == ""


@pytest.mark.parametrize("number", ["A/B", "../admin", "a b?c#d", "<b>", '"', "%2f", "é"])
def test_an_order_of_any_number_takes_no_page_with_it(neighbours: list[Order], alice: User, number: str):
    write("number", number, number="SO-2")
    client = Client()
    client.force_login(alice)
    answer = client.get("/")
    assert answer.status_code == 200
    assert "SO-1" in answer.content.decode()
    assert Api(alice).get("orders").status == 200


UNREADABLE = [
    ("orders_order", "placed_at", "infinity"),
    ("orders_order", "status_since", "-infinity"),
    ("orders_order", "created_at", "4713-01-01 BC"),
    ("orders_order", "updated_at", "10000-01-01"),
    ("orders_order", "estimated_delivery", "infinity"),
    ("orders_order", "estimated_delivery", "10000-01-01"),
    ("orders_order", "total", "NaN"),
    ("orders_statuschange", "occurred_at", "infinity"),
    ("orders_statuschange", "recorded_at", "10000-01-01"),
]


@pytest.mark.parametrize(("table", "column", "value"), UNREADABLE)
def test_what_python_cannot_read_the_database_does_not_take(
    neighbours: list[Order], table: str, column: str, value: str
):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no such values, and any text in any column")
    with pytest.raises(IntegrityError, match=r"have_a_year|is_a_number"), transaction.atomic():
        connection.cursor().execute(f"UPDATE {table} SET {column} = %s", [value])


BAD_ITEMS = [
    *SHAPES,
    "[" * 90_000,
    "9" * 250_000,
    '[{"name": "a\\u0000b", "quantity": 1}]',
    "[1e400]",
    "NaN",
    "x",
    '[{"name": "Tea", "quantity": NaN}]',
]
EMPTY = ["null", "[]", "{}"]


@pytest.mark.parametrize("field", ["items", "metadata"])
@pytest.mark.parametrize("text", BAD_ITEMS, ids=lambda text: text[:30])
def test_the_admin_saves_nothing_that_the_pages_could_not_show(
    neighbours: list[Order], staff: User, settings: Any, field: str, text: str
):
    settings.WHITENOISE_AUTOREFRESH = True
    client = Client()
    client.force_login(staff)
    url = reverse("admin:orders_order_change", args=[neighbours[1].pk])
    form = client.get(url).context["adminform"].form
    sent = {name: form[name].value() or "" for name in form.fields}
    times = {"placed_at_0": "2026-03-01", "placed_at_1": "12:00:00"}
    history = {"history-TOTAL_FORMS": 0, "history-INITIAL_FORMS": 0}
    answer = client.post(url, {**sent, "items": "[]", "metadata": "{}", **times, **history, field: text})
    fresh = Order.objects.get(pk=neighbours[1].pk)
    if answer.status_code == 302:
        assert isinstance(fresh.items, list)
        assert isinstance(fresh.metadata, dict)
        assert snapshot(fresh)["items"] == fresh.items
        assert text in EMPTY or (field == "metadata" and text.startswith('{"name"'))
    else:
        assert answer.status_code == 200
        assert answer.context["adminform"].form.errors.keys() == {field}


@pytest.mark.parametrize("address", ["javascript:alert(1)", "ftp://files.example/x", "data:text/html,x"])
def test_the_admin_takes_addresses_of_the_web_alone(neighbours: list[Order], staff: User, settings: Any, address: str):
    settings.WHITENOISE_AUTOREFRESH = True
    client = Client()
    client.force_login(staff)
    url = reverse("admin:orders_order_change", args=[neighbours[1].pk])
    form = client.get(url).context["adminform"].form
    sent = {name: form[name].value() or "" for name in form.fields}
    rest = {"placed_at_0": "2026-03-01", "placed_at_1": "12:00:00", "items": "[]", "metadata": "{}"}
    history = {"history-TOTAL_FORMS": 0, "history-INITIAL_FORMS": 0}
    answer = client.post(url, {**sent, **rest, **history, "tracking_url": address})
    assert answer.context["adminform"].form.errors.keys() == {"tracking_url"}
