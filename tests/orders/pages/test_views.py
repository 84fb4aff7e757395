"""The pages as the server renders them: whole without JavaScript, and for nobody else's eyes."""

import json
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications.log import stream
from orders import delays, lifecycle, services
from orders.lifecycle import Status
from orders.models import Order

PAGES = ["/", "/updates", "/orders/SO-1"]


@pytest.fixture
def order(alice: User) -> Order:
    items = [{"sku": "CUP-07", "name": "Espresso cup", "quantity": 4}]
    return services.create_order(number="SO-1", customer="alice", items=items, carrier="DHL")


def text(content: bytes) -> str:
    """What a page says, without its markup."""
    body = re.sub(r"<script.*?</script>", "", content.decode(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


@pytest.mark.parametrize("path", PAGES)
def test_nobody_is_asked_to_log_in(client: Client, order: Order, path: str):
    answer = client.get(path)
    assert (answer.status_code, answer["Location"]) == (302, f"/login?next={path}")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_says_the_status_without_javascript(client: Client, alice: User, order: Order, path: str):
    services.change_status(order=order, to="shipped", note="In one parcel.")
    client.force_login(alice)
    said = text(client.get(path).content)
    assert "On its way" in said
    assert "SO-1" in said


def test_who_has_no_javascript_is_told_to_reload(client: Client, alice: User, order: Order):
    client.force_login(alice)
    [told] = re.findall(r"<noscript>(.*?)</noscript>", client.get("/").content.decode())
    assert "Reload it for the newest status." in told


def test_an_order_page_tells_what_happened_and_what_comes_next(client: Client, alice: User, order: Order):
    services.change_status(order=order, to="processing")
    services.change_status(order=order, to="shipped", note="In one parcel.")
    client.force_login(alice)
    said = text(client.get("/orders/SO-1").content)
    happened, ahead = said.split("What happened")[1].split("What comes next")
    assert [happened.index(step) for step in ("Order received", "Being prepared", "On its way")] == sorted(
        happened.index(step) for step in ("Order received", "Being prepared", "On its way")
    )
    assert "In one parcel." in happened
    assert "Out for delivery Delivered" in ahead


def test_what_came_too_late_is_not_part_of_the_timeline(client: Client, alice: User, order: Order):
    services.change_status(order=order, to="shipped")
    services.change_status(order=order, to="on_hold", occurred_at=order.placed_at)
    client.force_login(alice)
    assert "On hold" not in text(client.get("/orders/SO-1").content)


def test_somebody_elses_order_does_not_exist(client: Client, bob: User, order: Order):
    client.force_login(bob)
    assert client.get("/orders/SO-1").status_code == client.get("/orders/SO-2").status_code == 404
    assert "SO-1" not in text(client.get("/").content)
    assert "SO-1" not in text(client.get("/updates").content)


def test_staff_see_their_own_orders_in_the_list_and_any_by_its_number(client: Client, staff: User, order: Order):
    client.force_login(staff)
    assert "SO-1" not in text(client.get("/").content)
    page = client.get("/orders/SO-1").content
    assert "of alice, as the customer sees it" in text(page)
    assert b'data-socket="/ws/board"' in page, "her stream would tell staff nothing"


def test_a_page_carries_the_position_that_it_was_read_at(client: Client, alice: User, order: Order):
    services.change_status(order=order, to="processing")
    client.force_login(alice)
    position = stream.position(alice.pk)
    page = client.get("/").content.decode()
    for name, value in {"stream": position.uid, "head": 2, "unread": 2, "user": "alice"}.items():
        assert f'data-{name}="{value}"' in page


@pytest.mark.parametrize(("who", "path"), [("alice", "/"), ("alice", "/orders/SO-1"), ("staff", "/board")])
def test_the_position_is_read_before_the_orders(
    client: Client, alice: User, staff: User, order: Order, who: str, path: str
):
    client.force_login({"alice": alice, "staff": staff}[who])
    with CaptureQueriesContext(connection) as queries:
        client.get(path)
    tables = [query["sql"] for query in queries.captured_queries]
    position = next(i for i, sql in enumerate(tables) if 'FROM "notifications_stream"' in sql)
    orders = next(i for i, sql in enumerate(tables) if 'FROM "orders_order"' in sql)
    assert position < orders


def test_marking_as_read_without_javascript_reaches_no_further_than_the_form(client: Client, alice: User, order: Order):
    services.change_status(order=order, to="processing")
    client.force_login(alice)
    assert client.post("/updates/read", {"up_to": "1"}).status_code == 302
    assert stream.position(alice.pk).unread == 1
    for nonsense in ("", "-1", "two", "9" * 5000):
        assert client.post("/updates/read", {"up_to": nonsense}).status_code == 302
    assert client.post("/updates/read").status_code == 302
    assert stream.position(alice.pk).unread == 1


def test_a_moved_day_and_a_missed_one_are_told_in_words(client: Client, alice: User, order: Order):
    day = timezone.localdate() - timedelta(days=1)
    services.update_order(order=order, fields={"estimated_delivery": day})
    delays.announce_delays()
    services.update_order(order=order, fields={"estimated_delivery": None})
    client.force_login(alice)
    said = text(client.get("/updates").content)
    told = ["Details changed Order SO-1", "Later than planned", f"New delivery date: {day:%-d %B}", "Order placed"]
    assert [said.index(words) for words in told] == sorted(said.index(words) for words in told)


def test_marking_as_read_needs_the_forms_token(alice: User, order: Order):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    assert strict.post("/updates/read", {"up_to": "1"}).status_code == 403
    assert stream.position(alice.pk).unread == 1


def test_what_an_order_says_is_text_and_never_markup(client: Client, alice: User):
    script = "</script><script>alert(1)</script>"
    items = [{"sku": "X", "name": script, "quantity": 1}]
    order = services.create_order(number="SO-2", customer="alice", items=items, carrier=script)
    services.change_status(order=order, to="shipped", note=script)
    client.force_login(alice)
    for path in ("/", "/updates", "/orders/SO-2"):
        assert script not in client.get(path).content.decode()


@pytest.mark.parametrize("path", [*PAGES, "/login"])
def test_no_page_has_script_or_style_inline_or_from_elsewhere(client: Client, alice: User, order: Order, path: str):
    if path != "/login":
        client.force_login(alice)
    answer = client.get(path)
    page = answer.content.decode()
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|(src|href)=[\"'](https?:)?//", page)
    for script in re.findall(r"<script[^>]*>", page):
        assert 'src="/static/' in script or 'type="application/json"' in script


def test_pages_are_kept_by_no_cache(client: Client, alice: User, order: Order):
    client.force_login(alice)
    for path in PAGES:
        assert "no-store" in client.get(path)["Cache-Control"]


def test_a_long_list_has_pages(client: Client, alice: User):
    for number in range(21):
        services.create_order(number=f"SO-{number}", customer="alice")
    client.force_login(alice)
    first, second = client.get("/").content.decode(), client.get("/?page=2").content.decode()
    assert (first.count("data-order="), second.count("data-order=")) == (20, 1)
    assert "data-newest" in first
    assert "data-newest" not in second


def test_the_words_reach_the_script_as_data(client: Client, alice: User):
    client.force_login(alice)
    page = client.get("/").content.decode()
    [data] = re.findall(r'<script id="wording" type="application/json">(.*?)</script>', page)
    assert json.loads(data)["out_for_delivery"]["label"] == "Out for delivery"


def column(page: str, status: str) -> str:
    """What stands in one column of the board."""
    return page.split(f'data-column="{status}"')[1].split("</section>", maxsplit=1)[0]


def test_the_board_shows_everybodys_orders_in_the_column_of_their_status(
    client: Client, staff: User, bob: User, order: Order
):
    moved = services.create_order(number="SO-2", customer="bob")
    services.change_status(order=moved, to="shipped")
    client.force_login(staff)
    page = client.get("/board").content.decode()
    assert 'data-order="SO-1"' in column(page, "pending")
    assert 'data-order="SO-2"' in column(page, "shipped")
    assert page.count("data-column=") == len(Status)


def test_the_board_is_for_who_may_see_all_orders(client: Client, alice: User, order: Order):
    assert client.get("/board").status_code == 302
    client.force_login(alice)
    answer = client.get("/board")
    assert answer.status_code == 403
    assert "SO-1" not in text(answer.content)
    assert 'href="/board"' not in client.get("/").content.decode()


@pytest.mark.parametrize("search", ["so-1", "ALI", "jd0001"])
def test_a_search_finds_by_number_customer_and_tracking_number(client: Client, staff: User, bob: User, search: str):
    services.create_order(number="SO-1", customer="alice", tracking_number="JD0001")
    services.create_order(number="SO-2", customer="bob", tracking_number="JD00010")
    client.force_login(staff)
    page = client.get("/board", {"q": search}).content.decode()
    assert 'data-order="SO-1"' in page
    assert 'data-order="SO-2"' not in page


def test_the_board_offers_no_change_to_who_may_only_look(client: Client, alice: User, order: Order):
    alice.user_permissions.add(Permission.objects.get(codename="view_order"))
    client.force_login(alice)
    assert "data-may-change" not in client.get("/board").content.decode()


def test_the_board_offers_the_steps_of_the_lifecycle(client: Client, staff: User):
    client.force_login(staff)
    page = client.get("/board").content.decode()
    [data] = re.findall(r'<script id="steps" type="application/json">(.*?)</script>', page)
    assert {status: step["allowed"] for status, step in json.loads(data).items()} == {
        status.value: lifecycle.allowed(status) for status in Status
    }


def test_quantities_and_amounts_are_written_as_they_are(client: Client, alice: User):
    items = [
        {"name": "Apples", "quantity": 0.5},
        {"name": "Rope", "quantity": 12.0},
        {"name": "Lamp", "quantity": 1},
        {"name": "Gold dust", "quantity": 0.0000001},
    ]
    services.create_order(number="SO-1", customer="alice", items=items, currency="KWD", total="12.3450")
    client.force_login(alice)
    assert "0.5 × Apples · 12 × Rope · Lamp · 0.0000001 × Gold dust" in text(client.get("/").content)
    page = client.get("/orders/SO-1").content
    assert "Apples 0.5 × Rope 12 ×" in text(page)
    assert b'data-total="12.345" data-currency="KWD">12.345 KWD<' in page
