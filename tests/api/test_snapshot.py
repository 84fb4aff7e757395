"""`/snapshot`: orders and their position fit together, whatever commits in between; the rest follows in pages."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import AbstractUser, Permission
from django.db import connection

from notifications.log import stream
from notifications.models import Stream
from orders import services
from orders.models import Order
from tests.api.client import Api
from tests.database import Elsewhere, OpenTransaction, elsewhere

PLACED_AT = datetime(2026, 3, 1, tzinfo=UTC)
NEWEST = 100


@pytest.fixture
def other() -> Iterator[Elsewhere]:
    with elsewhere() as another:
        yield another


def insert(alice: AbstractUser, numbers: Any, *, status: str, hours: Callable[[int], int] = int) -> None:
    """Orders of alice's as an import leaves them, without a notification each."""
    rows = [
        Order(number=f"SO-{n}", customer_id=alice.pk, status=status, placed_at=PLACED_AT + timedelta(hours=hours(n)))
        for n in numbers
    ]
    super(type(Order.objects.all()), Order.objects.all()).bulk_create(rows)


def numbers(page: Any) -> list[str]:
    return [order["number"] for order in page]


def rest_of(api: Api, taken: Any) -> list[str]:
    """The numbers on all the pages that `next` leads to."""
    found: list[str] = []
    following = taken["next"]
    while following:
        page = api.get(following.removeprefix("http://testserver")).json
        found += numbers(page["results"])
        following = page["next"]
    return found


class During:
    """Calls `function` once, right before the query of a request that names this table."""

    def __init__(self, table: str, function: Callable[[], Any]) -> None:
        self.table, self.function, self.called = f'FROM "{table}"', function, False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not self.called and self.table in sql:
            self.called = True
            self.function()
        return execute(sql, params, many, context)


def test_it_has_the_orders_and_the_position(as_alice: Api, alice: AbstractUser, order: Order):
    services.change_status(order=order, to="shipped", actor=None)
    stream.mark_read(alice.pk, 1)
    answer = as_alice.get("snapshot")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json == {
        "user": "alice",
        "stream": stream.position(alice.pk).uid,
        "head": 2,
        "unread": 1,
        "orders": [as_alice.get("orders/SO-1").json],
        "next": None,
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["orders_order", "notifications_stream"])
def test_a_change_that_commits_between_its_queries_is_in_both_or_in_neither(
    as_alice: Api, order: Order, other: Elsewhere, table: str
):
    """And is found by who follows from the head."""

    def ship() -> None:
        other.do(lambda: services.change_status(order=Order.objects.get(), to="shipped", actor=None))

    during = During(table, ship)
    with connection.execute_wrapper(during):
        taken = as_alice.get("snapshot").json
    assert during.called
    shown = taken["orders"][0]
    assert (taken["head"], shown["status"]) in {(1, "pending"), (2, "shipped")}
    followed = as_alice.get(f"notifications?after={taken['head']}").json["results"]
    newest = followed[-1]["order"] if followed else shown
    assert newest == as_alice.get("orders/SO-1").json
    assert len(followed) == 2 - taken["head"]


@pytest.mark.django_db(transaction=True)
def test_it_waits_for_no_writer_and_shows_nothing_of_one_that_has_not_committed(
    as_alice: Api, order: Order, other: Elsewhere
):
    writing = OpenTransaction(
        other, lambda: services.change_status(order=Order.objects.get(), to="shipped", actor=None)
    )
    taken = as_alice.get("snapshot").json
    assert (taken["head"], taken["orders"][0]["status"]) == (1, "pending")
    writing.commit()
    taken = as_alice.get("snapshot").json
    assert (taken["head"], taken["orders"][0]["status"]) == (2, "shipped")


@pytest.mark.django_db(transaction=True)
def test_a_thread_that_took_one_writes_again(as_alice: Api, as_staff: Api, order: Order):
    assert as_alice.get("snapshot").status == 200
    assert as_staff.patch("orders/SO-1", {"status": "shipped"}).status == 200


@pytest.mark.django_db(transaction=True)
def test_a_stream_that_is_missing_is_begun(as_alice: Api, alice: AbstractUser, order: Order):
    Stream.objects.all().delete()
    taken = as_alice.get("snapshot").json
    assert (taken["head"], taken["stream"]) == (0, stream.position(alice.pk).uid)
    assert numbers(taken["orders"]) == ["SO-1"]


def test_the_newest_come_first_and_the_rest_in_pages(as_alice: Api, as_bob: Api, alice: AbstractUser):
    insert(alice, range(NEWEST + 120), status="delivered")
    services.create_order(number="SO-B", customer="bob", placed_at=PLACED_AT)
    taken = as_alice.get("snapshot").json
    assert numbers(taken["orders"]) == [f"SO-{n}" for n in reversed(range(120, NEWEST + 120))]
    assert rest_of(as_alice, taken) == [f"SO-{n}" for n in reversed(range(120))]


def test_open_orders_are_there_however_old_and_come_no_second_time(as_alice: Api, alice: AbstractUser):
    insert(alice, range(NEWEST + 60), status="returned")
    insert(alice, range(1_000, 1_005), status="on_hold", hours=lambda n: n - 1_030)
    taken = as_alice.get("snapshot").json
    assert numbers(taken["orders"][NEWEST:]) == [f"SO-{n}" for n in reversed(range(1_000, 1_005))]
    # One of them closes, one of the rest opens again, and a new one comes, before the rest is asked for.
    services.change_status(order=Order.objects.get(number="SO-1000"), to="cancelled", actor=None)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orders_order SET status = 'on_hold' WHERE number = 'SO-7'")
    services.create_order(number="SO-NEW", customer="alice")
    found = numbers(taken["orders"]) + rest_of(as_alice, taken)
    assert sorted([*found, "SO-NEW"]) == sorted(Order.objects.values_list("number", flat=True))


def test_more_open_orders_than_it_holds_are_in_the_pages(as_alice: Api, alice: AbstractUser):
    insert(alice, range(NEWEST + 130), status="pending")
    taken = as_alice.get("snapshot").json
    assert len(taken["orders"]) == NEWEST + 100
    found = numbers(taken["orders"]) + rest_of(as_alice, taken)
    assert sorted(found) == sorted(f"SO-{n}" for n in range(NEWEST + 130))


def test_the_rest_is_exact_although_all_were_placed_at_one_moment_and_others_are_added(
    as_alice: Api, alice: AbstractUser
):
    insert(alice, range(NEWEST + 70), status="delivered", hours=lambda n: 0)
    taken = as_alice.get("snapshot").json
    insert(alice, range(1_000, 1_010), status="delivered", hours=lambda n: 0)
    found = numbers(taken["orders"]) + rest_of(as_alice, taken)
    assert sorted(found) == sorted(f"SO-{n}" for n in range(NEWEST + 70))


def test_the_rest_for_staff_is_their_own(as_staff: Api, staff: AbstractUser, alice: AbstractUser):
    insert(staff, range(NEWEST + 3), status="delivered")
    insert(alice, range(1_000, 1_003), status="delivered", hours=lambda n: -1)
    taken = as_staff.get("snapshot").json
    assert taken["user"] == "staff"
    assert rest_of(as_staff, taken) == ["SO-2", "SO-1", "SO-0"]


def test_a_back_end_asks_for_its_customer(as_staff: Api, as_alice: Api, order: Order):
    assert as_staff.get("snapshot?customer=alice").json == as_alice.get("snapshot").json


def test_a_customer_who_has_not_ordered_yet_has_an_empty_one(as_staff: Api, bob: AbstractUser):
    taken = as_staff.get("snapshot?customer=bob").json
    assert taken == {
        "user": "bob", "stream": stream.position(bob.pk).uid, "head": 0, "unread": 0, "orders": [], "next": None,
    }  # fmt: skip


def test_a_customer_who_is_not_known_yet_has_an_empty_one_that_loses_nothing(as_staff: Api):
    taken = as_staff.get("snapshot?customer=carol").json
    assert taken == {"user": "carol", "stream": "", "head": 0, "unread": 0, "orders": [], "next": None}
    carol = services.create_order(number="SO-C", customer="carol").customer
    after: Any = Api(carol).get(f"notifications?{urlencode({'after': 0, 'stream': taken['stream']})}")
    assert (after.status, after.errors if after.status != 200 else set()) == (200, set())
    assert [entry["seq"] for entry in after.json["results"]] == [1]


@pytest.mark.parametrize("permission", ["issue_ticket", "view_order"])
def test_asking_for_others_needs_both_permissions(
    as_staff: Api, staff: AbstractUser, alice: AbstractUser, permission: str
):
    staff.user_permissions.remove(Permission.objects.get(codename=permission))
    assert as_staff.get("snapshot?customer=alice").code == "permission_denied"
    assert as_staff.get("snapshot?customer=carol").code == "permission_denied"
    assert as_staff.get("snapshot").status == 200


def test_a_customer_may_name_nobody_but_themselves(as_bob: Api, as_alice: Api, order: Order):
    assert as_bob.get("snapshot?customer=alice").code == "permission_denied"
    assert as_bob.get("snapshot?customer=nobody").code == "permission_denied"
    assert numbers(as_alice.get("snapshot?customer=alice").json["orders"]) == ["SO-1"]


def test_there_is_none_of_staff_or_of_who_is_not_active(as_staff: Api, alice: AbstractUser):
    alice.is_active = False
    alice.save()
    for name in ("staff", "alice"):
        answer = as_staff.get(f"snapshot?customer={name}")
        assert (answer.status, answer.errors) == (400, {("/customer", "unknown_customer")})


@pytest.mark.parametrize("query", ["customer=", "customer=%00", "custmer=alice", "limit=5", f"customer={'a' * 151}"])
def test_a_query_that_cannot_be_understood_is_refused(as_staff: Api, query: str):
    answer = as_staff.get(f"snapshot?{query}")
    assert answer.status == 400
    assert {pointer for pointer, _ in answer.errors} == {f"/{query.split('=', maxsplit=1)[0]}"}
