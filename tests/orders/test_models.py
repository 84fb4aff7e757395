"""The rows: rules that the database keeps, and `save()`, which leaves no change of an order unrecorded."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import FieldError
from django.core.management import call_command
from django.db import IntegrityError, connection, models, transaction
from django.utils import timezone

from orders import services
from orders.models import Order, StaleOrder, StatusChange
from orders.selectors import snapshot
from tests.orders.conftest import make_order, newest_change

ORDER, CHANGE = Order._meta.db_table, StatusChange._meta.db_table


def steps(order: Order) -> list[tuple[str, str]]:
    """The history, `(from, to)` for each change that was applied."""
    return list(order.history.filter(applied=True).values_list("from_status", "to_status"))


# Rules in the database: each is broken by SQL, which no Python stands in front of.

BROKEN = {
    "order_status_is_known": f"UPDATE {ORDER} SET status = 'lost'",
    "order_version_is_positive": f"UPDATE {ORDER} SET version = 0",
    "order_number_is_not_empty": f"UPDATE {ORDER} SET number = ''",
    "order_number_has_no_empty_part": f"UPDATE {ORDER} SET number = 'A//B'",
    "order_total_is_not_negative": f"UPDATE {ORDER} SET total = -0.01",
    "order_total_is_a_number": f"UPDATE {ORDER} SET total = 'NaN'",
    "order_dates_have_a_year": f"UPDATE {ORDER} SET estimated_delivery = 'infinity'",
    "order_times_have_a_year": f"UPDATE {ORDER} SET placed_at = 'infinity'",
    "order_news_have_a_year": f"UPDATE {ORDER} SET news_at = 'infinity'",
    "change_times_have_a_year": f"UPDATE {CHANGE} SET occurred_at = 'infinity'",
    "change_to_status_is_known": f"UPDATE {CHANGE} SET to_status = 'lost'",
    "change_from_status_is_known": f"UPDATE {CHANGE} SET from_status = 'lost'",
    "change_applied_moves": f"UPDATE {CHANGE} SET from_status = to_status",
}


@pytest.mark.parametrize("constraint", BROKEN)
def test_the_database_keeps_the_rule(constraint: str, order: Order):
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(BROKEN[constraint])


def test_every_constraint_has_its_test_above():
    constraints = {c.name for model in (Order, StatusChange) for c in model._meta.constraints}
    assert constraints == BROKEN.keys()


def test_a_number_is_taken_once(order: Order, bob: User):
    with pytest.raises(IntegrityError), transaction.atomic():
        Order(number=order.number, customer=bob).save()


def test_a_customer_with_orders_cannot_be_deleted(order: Order, alice: User):
    with pytest.raises(models.ProtectedError):
        alice.delete()


def test_who_made_a_change_may_be_deleted_and_the_change_stays(order: Order, staff: User):
    services.change_status(order=order, to="processing", actor=staff)
    staff.delete()
    assert [change.actor for change in order.history.all()] == [None, None]


# Every way of saving is recorded.


def test_a_new_order_begins_its_history(order: Order):
    assert steps(order) == [("", "pending")]


def test_a_status_saved_by_hand_is_recorded_and_is_a_new_version(order: Order):
    order.status = "shipped"
    order.save()
    assert steps(order) == [("", "pending"), ("pending", "shipped")]
    order.refresh_from_db()
    assert order.version == 2
    assert newest_change(order).occurred_at == order.status_since


def test_a_status_saved_through_another_instance_is_recorded(order: Order):
    again = Order.objects.get(pk=order.pk)
    again.status = "shipped"
    again.save(update_fields=["status"])
    assert steps(order) == [("", "pending"), ("pending", "shipped")]


@pytest.mark.parametrize(
    "load",
    [
        lambda orders: orders.only("number").get(),
        lambda orders: orders.defer("status").get(),
        lambda orders: orders.defer("status", "version", "status_since").get(),
    ],
    ids=["only", "defer", "defer-more"],
)
def test_a_status_that_was_not_loaded_is_recorded_all_the_same(
    load: Callable[[models.QuerySet[Order]], Order], order: Order
):
    partly = load(Order.objects.all())
    partly.status = "shipped"
    partly.save()
    assert steps(order) == [("", "pending"), ("pending", "shipped")]


def test_a_column_that_was_not_loaded_can_be_emptied(alice: User):
    make_order(total=Decimal("12.00"))
    partly = Order.objects.only("number").get()
    partly.total = None
    partly.save()
    assert Order.objects.get().total is None


def test_saving_what_did_not_change_writes_nothing(order: Order):
    Order.objects.get().save()
    assert Order.objects.get().version == 1
    assert order.history.count() == 1


def test_a_change_within_items_or_metadata_is_seen(order: Order):
    order.items.append({"sku": "TEA-01", "name": "Assam", "quantity": 1})
    order.save()
    order.metadata["gift"] = True
    order.save()
    fresh = Order.objects.get()
    assert (fresh.items, fresh.metadata, fresh.version) == (order.items, {"gift": True}, 3)


def test_a_corrected_number_is_saved_like_anything_else(order: Order):
    order.number = "SO-1b"
    order.save()
    fresh = Order.objects.get()
    assert (fresh.number, fresh.version) == ("SO-1b", 2)


def test_a_snapshot_is_the_same_before_and_after_the_database(alice: User):
    order = make_order(
        total="12.5", estimated_delivery="2026-03-04", placed_at=timezone.now() - timedelta(days=1), currency="EUR"
    )
    assert snapshot(order) == snapshot(Order.objects.get())
    order.total = 7
    order.status = "shipped"
    order.save()
    assert snapshot(order) == snapshot(Order.objects.get())


def test_a_part_that_is_saved_does_not_tell_of_what_was_not(order: Order):
    order.carrier = "DHL"
    order.status = "shipped"
    with pytest.raises(ValueError, match="status"):
        order.save(update_fields=["carrier"])
    order.save()
    assert steps(order) == [("", "pending"), ("pending", "shipped")]
    assert Order.objects.get().carrier == "DHL"


def test_reading_one_column_again_keeps_what_was_changed_in_memory(order: Order):
    order.status = "shipped"
    order.refresh_from_db(fields=["carrier"])
    order.save()
    assert steps(order) == [("", "pending"), ("pending", "shipped")]


@pytest.mark.parametrize("save", [{"force_insert": True}, {}], ids=["insert", "pk-given"])
def test_an_instance_with_an_existing_key_never_replaces_that_row(save: dict[str, Any], order: Order, bob: User):
    with pytest.raises(IntegrityError), transaction.atomic():
        Order(pk=order.pk, number="SO-2", customer=bob, created_at=order.created_at).save(**save)
    assert Order.objects.get().number == "SO-1"


def test_a_fixture_brings_orders_and_their_history_back_as_they_were(order: Order, tmp_path: Path):
    services.change_status(order=order, to="shipped", note="On its way")
    file = str(tmp_path / "orders.json")
    call_command("dumpdata", "orders", output=file)
    Order.objects.all().delete()
    call_command("loaddata", file, verbosity=0)
    loaded = Order.objects.get()
    assert (loaded.number, loaded.status, loaded.version) == ("SO-1", "shipped", 2)
    assert steps(loaded) == [("", "pending"), ("pending", "shipped")]


# Ways of writing that nobody would learn of.


@pytest.mark.parametrize(
    "write",
    [
        lambda order: Order.objects.update(status="shipped"),
        lambda order: order.customer.orders.update(status="shipped", carrier="DHL"),
        lambda order: Order.objects.filter(pk=order.pk).select_for_update().update(status="shipped"),
        lambda order: Order.objects.bulk_update([order], ["status"]),
        lambda order: Order.objects.bulk_update([order], fields=iter(["carrier", "status"])),
    ],
    ids=["update", "through-the-customer", "locked", "bulk_update", "bulk_update-among-others"],
)
def test_a_status_cannot_be_written_past_the_history(write: Callable[[Order], object], order: Order):
    order.status = "shipped"
    with pytest.raises(FieldError, match="change_status"):
        write(order)
    assert Order.objects.get().status == "pending"


def test_orders_cannot_be_created_past_the_history(alice: User):
    with pytest.raises(NotImplementedError, match="create_order"):
        Order.objects.bulk_create([Order(number="SO-1", customer=alice)])


def test_other_columns_may_be_updated_in_bulk(order: Order):
    Order.objects.update(carrier="DHL")
    order.carrier = "UPS"
    Order.objects.bulk_update([order], ["carrier"])
    assert Order.objects.get().carrier == "UPS"


# Two instances of one row.


@pytest.mark.django_db(transaction=True)
def test_a_stale_instance_never_undoes_a_newer_change(order: Order):
    stale = Order.objects.get()
    services.change_status(order=order, to="shipped")
    stale.carrier = "DHL"
    with pytest.raises(StaleOrder):
        stale.save()
    with pytest.raises(StaleOrder):  # nor at the second try
        stale.save()
    assert (Order.objects.get().status, Order.objects.get().carrier) == ("shipped", "")


def test_a_save_that_failed_can_be_repeated_when_its_cause_is_gone(order: Order):
    order.status = "lost"
    with pytest.raises(IntegrityError), transaction.atomic():
        order.save()
    order.status = "shipped"
    order.save()
    assert Order.objects.get().version == 2
    assert steps(order) == [("", "pending"), ("pending", "shipped")]


def test_an_instance_can_be_saved_again_and_again(order: Order):
    for status in ("processing", "shipped", "delivered"):
        order.status = status
        order.save()
    assert Order.objects.get().version == 4
    assert [to for _, to in steps(order)] == ["pending", "processing", "shipped", "delivered"]
