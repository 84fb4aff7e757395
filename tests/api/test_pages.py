"""Pages of orders while the orders move: each that was there is given once."""

from datetime import UTC, datetime

from django.contrib.auth.models import AbstractUser

from orders.bulk import Line, change_statuses
from orders.models import Order
from tests.api.client import Api

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def place(alice: AbstractUser, numbers: range) -> None:
    """Orders of one moment, without the history that no page reads."""
    rows = [Order(number=f"SO-{n}", customer_id=alice.pk, placed_at=DAY, status="processing") for n in numbers]
    super(type(Order.objects.all()), Order.objects.all()).bulk_create(rows)


def test_a_warehouse_that_ships_what_it_reads_visits_every_order_of_a_day(as_staff: Api, alice: AbstractUser):
    """With an offset among orders of one moment, half of them would slip from the pages as they change."""
    place(alice, range(400))
    visited: list[str] = []
    following: str | None = "/api/v1/orders?status=processing&limit=50"
    while following:
        page = as_staff.get(following.removeprefix("http://testserver")).json
        numbers = [order["number"] for order in page["results"]]
        change_statuses(lines=[Line(number=number, to="shipped") for number in numbers], among=Order.objects.all())
        visited += numbers
        following = page["next"]
    assert sorted(visited) == sorted(f"SO-{n}" for n in range(400))


def test_orders_that_arrive_meanwhile_double_none(as_staff: Api, alice: AbstractUser):
    place(alice, range(400))
    visited: list[str] = []
    following: str | None = "/api/v1/orders?limit=50"
    arriving = 1_000
    while following:
        page = as_staff.get(following.removeprefix("http://testserver")).json
        visited += [order["number"] for order in page["results"]]
        place(alice, range(arriving, arriving + 7))
        arriving += 7
        following = page["next"]
    assert sorted(visited) == sorted(f"SO-{n}" for n in range(400))
