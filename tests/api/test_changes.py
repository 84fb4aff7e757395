"""`/orders?order_by=updated`: read, keep the position, come back; nothing is missed, however late it commits."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.management import call_command
from django.db.models import F

from api.changes import Position
from orders import positions, services
from orders.models import Order
from tests.api.client import Api
from tests.database import OpenTransaction, elsewhere, on_postgres


class Reader:
    """Reads all pages, keeps the position, comes back; holds the newest version of each order that it was given.

    Transactions of the cluster, of other databases too, hold positions back, so any order may be given again.
    """

    def __init__(self, api: Api, query: str = "") -> None:
        self.api = api
        self.query = query
        self.position: str | None = None
        self.holds: dict[str, int] = {}

    def read(self) -> list[str]:
        """Read all there is; gives what was new, in the order in which it came."""
        page = self.turn(f"orders?order_by=updated{self.query}{f'&cursor={self.position}' if self.position else ''}")
        news = self.take(page)
        while page["next"]:
            page = self.turn(page["next"])
            news += self.take(page)
        return news

    def turn(self, path: str) -> Any:
        page = self.api.get(path.removeprefix("http://testserver")).json
        self.position = page["position"]
        return page

    def take(self, page: Any) -> list[str]:
        news = [order for order in page["results"] if self.holds.get(order["number"], 0) < order["version"]]
        self.holds |= {order["number"]: order["version"] for order in news}
        return [order["number"] for order in news]


@pytest.fixture
def reader(as_staff: Api) -> Reader:
    return Reader(as_staff)


@pytest.mark.django_db(transaction=True)
def test_what_changed_since_is_given_in_the_order_of_the_changes(
    reader: Reader, many_orders: Callable[[int], list[Order]]
):
    first, second, third = many_orders(3)
    assert reader.read() == ["SO-0", "SO-1", "SO-2"]
    for carrier, order in (("DHL", third), ("UPS", first), ("DPD", third)):
        services.update_order(order=order, fields={"carrier": carrier})
    assert reader.read() == ["SO-0", "SO-2"]
    services.change_status(order=second, to="shipped")
    assert reader.read() == ["SO-1"]
    assert reader.read() == []


@pytest.mark.django_db(transaction=True)
def test_every_way_of_writing_an_order_is_a_change(
    as_staff: Api, reader: Reader, many_orders: Callable[[int], list[Order]]
):
    orders = many_orders(3)
    reader.read()
    orders[0].carrier = "DHL"
    orders[0].save()
    as_staff.post("orders/batch", {"changes": [{"number": "SO-1", "status": "shipped"}]})
    as_staff.patch("orders/SO-2", {"carrier": "UPS"})
    as_staff.post("orders", {"number": "SO-3", "customer": "alice"})
    assert reader.read() == ["SO-0", "SO-1", "SO-2", "SO-3"]


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_a_change_that_began_earlier_and_commits_later_is_not_missed(
    reader: Reader, many_orders: Callable[[int], list[Order]]
):
    """By time, or by number alone, the reader would have gone on past it. Nobody is notified: the stream's lock would
    make the transactions take turns.
    """
    early, late = many_orders(2)
    reader.read()
    with elsewhere() as other:
        open_one = OpenTransaction(other, lambda: services.change_status(order=late, to="shipped", notify=False))
        services.change_status(order=early, to="shipped", notify=False)
        assert reader.read() == ["SO-0"]
        services.update_order(order=early, fields={"carrier": "DHL"}, notify=False)
        assert reader.read() == ["SO-0"]
        open_one.commit()
    assert reader.read() == ["SO-1"]


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_a_change_that_commits_while_its_reader_turns_pages_is_not_missed(
    reader: Reader, many_orders: Callable[[int], list[Order]]
):
    orders = many_orders(6)
    reader.read()
    with elsewhere() as other:
        open_one = OpenTransaction(other, lambda: services.change_status(order=orders[5], to="shipped", notify=False))
        for order in orders[:5]:
            services.change_status(order=order, to="shipped", notify=False)
        page = reader.turn(f"orders?order_by=updated&limit=2&cursor={reader.position}")
        reader.take(page)
        # Beyond the number of the open one, which is still open.
        while reader.holds["SO-1"] == 1:
            page = reader.turn(page["next"])
            reader.take(page)
        open_one.commit()
    while page["next"]:
        page = reader.turn(page["next"])
        reader.take(page)
    assert reader.holds["SO-5"] == 1
    assert reader.read() == ["SO-5"]


@pytest.mark.django_db(transaction=True)
def test_a_reader_who_stops_in_the_middle_misses_nothing(reader: Reader, many_orders: Callable[[int], list[Order]]):
    many_orders(5)
    reader.take(reader.turn("orders?order_by=updated&limit=2"))
    assert list(reader.holds) == ["SO-0", "SO-1"]
    assert reader.read() == ["SO-2", "SO-3", "SO-4"]


@pytest.mark.django_db(transaction=True)
def test_a_position_is_given_before_there_is_anything(reader: Reader, alice: AbstractUser):
    assert reader.read() == []
    services.create_order(number="SO-1", customer="alice")
    assert reader.read() == ["SO-1"]


@pytest.mark.django_db(transaction=True)
def test_a_position_outlives_the_order_that_changed_last(reader: Reader, many_orders: Callable[[int], list[Order]]):
    orders = many_orders(4)
    reader.read()
    for order in orders[1:]:
        order.history.all().delete()
        order.delete()
    services.change_status(order=orders[0], to="shipped")
    assert reader.read() == ["SO-0"]


@pytest.mark.django_db(transaction=True)
def test_what_many_orders_have_in_common_is_told_as_a_change(reader: Reader, many_orders: Callable[[int], list[Order]]):
    many_orders(2)
    reader.read()
    Order.objects.update(carrier="DHL", version=F("version") + 1)
    assert reader.read() == ["SO-0", "SO-1"]


@pytest.mark.django_db(transaction=True)
def test_customers_read_what_changed_of_theirs(as_alice: Api, as_bob: Api, order: Order):
    assert Reader(as_alice).read() == ["SO-1"]
    assert Reader(as_bob).read() == []


@pytest.mark.django_db(transaction=True)
def test_what_changed_is_narrowed_as_any_list(as_staff: Api, many_orders: Callable[[int], list[Order]]):
    reader = Reader(as_staff, "&status=shipped")
    services.change_status(order=many_orders(3)[1], to="shipped")
    assert reader.read() == ["SO-1"]
    services.change_status(order=Order.objects.get(number="SO-2"), to="shipped")
    assert reader.read() == ["SO-2"]


@pytest.mark.django_db(transaction=True)
def test_after_a_backup_was_restored_a_reader_is_told_to_begin_anew(as_staff: Api, reader: Reader, order: Order):
    reader.read()
    call_command("restart_streams")
    answer = as_staff.get(f"orders?order_by=updated&cursor={reader.position}")
    assert (answer.status, answer.errors) == (400, {("/cursor", "position_lost")})
    assert Reader(as_staff).read() == ["SO-1"]


@pytest.mark.django_db(transaction=True)
def test_a_position_that_the_database_has_not_reached_is_refused(as_staff: Api, order: Order):
    """A dump brings the name of its numbers along, into a cluster whose transactions begin again near 700."""
    ahead = Position(positions.now().numbering, 2**40).written()
    answer = as_staff.get(f"orders?order_by=updated&cursor={ahead}")
    assert (answer.status, answer.errors) == (400, {("/cursor", "position_lost")})


@pytest.mark.django_db(transaction=True)
def test_cursors_of_the_two_orders_are_told_apart(
    as_staff: Api, reader: Reader, many_orders: Callable[[int], list[Order]]
):
    many_orders(2)
    reader.read()
    page = as_staff.get("orders?limit=1").json["next"]
    for path in (f"orders?cursor={reader.position}", f"{page}&order_by=updated".removeprefix("http://testserver")):
        assert as_staff.get(path).errors == {("/cursor", "invalid")}
