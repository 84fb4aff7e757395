"""A day that was promised and missed is told, once, when it is over where the shop is."""

import json
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from notifications.log import stream
from orders import delays, services, tasks
from orders.lifecycle import Status
from orders.models import Order
from tests.asyncapi import check
from tests.database import OpenTransaction, elsewhere, on_postgres, together
from tests.orders.conftest import make_many, make_order

pytestmark = pytest.mark.django_db

#: A day apart at least, whatever the time is.
FIRST, LAST = ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Etc/GMT+12")


def yesterday() -> date:
    return timezone.localdate() - timedelta(days=1)


def told(user: User) -> list[dict[str, Any]]:
    """The frames that the user got, but for those of new orders."""
    entries = stream.read_after({user.pk: 0})[user.pk]
    frames = [json.loads(entry.frame) for entry in entries]
    for frame in frames:
        check(frame)
    return [frame for frame in frames if frame["kind"] != "order.created"]


@pytest.fixture
def late(alice: User) -> Order:
    """Alice's, promised for yesterday and on its way."""
    return make_order(estimated_delivery=yesterday(), status="shipped")


def test_a_missed_day_is_told_once(late: Order, alice: User):
    assert [tasks.announce_delays() for _ in range(3)] == [1, 0, 0]
    [frame] = told(alice)
    assert (frame["kind"], frame["order"]["number"], frame["order"]["version"]) == ("order.delayed", "SO-1", 1)


@pytest.mark.parametrize("status", Status)
def test_it_is_told_as_long_as_the_customer_waits(alice: User, status: Status):
    make_order(estimated_delivery=yesterday(), status=status)
    waits = status in ("pending", "processing", "on_hold", "shipped", "out_for_delivery")
    assert delays.announce_delays() == waits


@pytest.mark.parametrize("days", [0, 1, -8])
def test_a_day_that_is_not_over_or_long_past_is_no_news(alice: User, days: int):
    make_order(estimated_delivery=timezone.localdate() + timedelta(days=days))
    make_order("SO-2", estimated_delivery=None)
    assert delays.announce_delays() == 0


@pytest.mark.parametrize(("zone", "late"), [(FIRST, 1), (LAST, 0)])
def test_a_day_is_over_when_it_is_where_the_shop_is(alice: User, settings: Any, zone: ZoneInfo, late: int):
    make_order(estimated_delivery=timezone.localdate(timezone=LAST))
    settings.TIME_ZONE = zone.key
    assert delays.announce_delays() == late


def test_a_later_day_that_is_missed_too_is_told_again(late: Order, alice: User):
    Order.objects.update(estimated_delivery=yesterday() - timedelta(days=2))
    late.refresh_from_db()
    delays.announce_delays()
    services.update_order(order=late, fields={"estimated_delivery": yesterday()})
    assert [delays.announce_delays() for _ in range(2)] == [1, 0]
    services.update_order(order=late, fields={"estimated_delivery": yesterday() - timedelta(days=1)})
    assert delays.announce_delays() == 0, "an earlier day is nothing new"
    assert [frame["kind"] for frame in told(alice)] == [
        "order.delayed",
        "order.updated",
        "order.delayed",
        "order.updated",
    ]


def test_an_order_that_was_loaded_before_it_was_told_can_be_saved(late: Order):
    delays.announce_delays()
    services.change_status(order=late, to="delivered")
    late.refresh_from_db()
    late.carrier = "DHL"
    late.save()
    assert Order.objects.get().delay_told_for == yesterday()


def test_more_than_a_batch_is_told_in_one_run(alice: User):
    rows = [Order(number=f"SO-{n}", customer=alice, estimated_delivery=yesterday()) for n in range(delays.BATCH + 1)]
    make_many(rows)
    assert delays.announce_delays() == delays.BATCH + 1
    assert stream.position(alice.pk).head == delays.BATCH + 1


def test_what_is_out_of_time_is_left_to_the_next_run(late: Order):
    assert delays.announce_delays(seconds=0) == 0
    assert delays.announce_delays() == 1


@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_tell_each_order_once(alice: User):
    for number in range(20):
        make_order(f"SO-{number}", estimated_delivery=yesterday())
    together(delays.announce_delays, delays.announce_delays)
    delays.announce_delays()
    assert sorted(frame["order"]["number"] for frame in told(alice)) == sorted(f"SO-{n}" for n in range(20))


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_an_order_that_is_being_delivered_is_not_waited_for_and_not_told(late: Order, alice: User):
    with elsewhere() as other:
        delivering = OpenTransaction(other, lambda: services.change_status(order=late, to="delivered"))
        assert delays.announce_delays() == 0
        delivering.commit()
    assert delays.announce_delays() == 0
    assert [frame["kind"] for frame in told(alice)] == ["order.status_changed"]


# What else is told of a day.


def test_an_update_names_the_fields_that_are_others_now(late: Order, alice: User, bob: User):
    services.update_order(
        order=late, fields={"estimated_delivery": date(2030, 12, 1), "carrier": "DHL", "currency": ""}
    )
    [frame] = told(alice)
    assert (frame["kind"], frame["changed"]) == ("order.updated", ["carrier", "estimated_delivery"])
