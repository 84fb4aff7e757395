"""What an instance knows of its row: after a rollback, half a load or a failure it never takes for saved what is not.

Nothing that somebody else has changed is overwritten, and no change is told with the words of another.
"""

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.db.models.signals import post_save, pre_save
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications.models import Notification
from orders import bulk, services
from orders.models import Change, Order, StaleOrder, StatusChange
from orders.saving import record_save
from orders.signals import orders_changed
from tests.database import NOTIFYING, WRITING
from tests.orders.conftest import make_order, newest_change

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def steps() -> list[tuple[str, str]]:
    """The history of all orders, `(from, to)` for each change that was applied."""
    return list(StatusChange.objects.filter(applied=True).values_list("from_status", "to_status"))


def statements(work: Callable[[], Any]) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        work()
    return [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]


def row() -> Order:
    """The order as the database has it."""
    return Order.objects.get()


def in_bulk(*statuses: str) -> list[Order]:
    """Move the order to each of the statuses in one call; what each line gave."""
    lines = [bulk.Line("SO-1", status) for status in statuses]
    results = bulk.change_statuses(lines=lines, among=Order.objects.all())
    return [result.order for result in results if isinstance(result, services.Outcome)]


# The words of a change are its own.


def test_a_change_that_wrote_nothing_leaves_nothing_to_the_next(order: Order, staff: User):
    order.save(change=Change(actor=staff, note="Not this one", notify=False, occurred_at=LONG_AGO))
    order.status = "shipped"
    order.save()
    change = newest_change(order)
    assert (change.to_status, change.actor, change.note, change.notify) == ("shipped", None, "", True)
    assert change.occurred_at == order.status_since
    assert timezone.now() - change.occurred_at < timedelta(minutes=1)


def test_a_repeated_status_leaves_nothing_to_the_next_save_of_what_the_service_gave(order: Order, staff: User):
    given = services.change_status(order=order, to="pending", actor=staff, note="Again", notify=False).order
    given.status = "shipped"
    given.save()
    change = newest_change(order)
    assert (change.actor, change.note, change.notify) == (None, "", True)
    assert timezone.now() - change.occurred_at < timedelta(minutes=1)
    assert Notification.objects.filter(kind="order.status_changed").count() == 1


def test_a_save_that_failed_leaves_nothing_to_the_next(order: Order, staff: User):
    order.status = "lost"
    with pytest.raises(IntegrityError), transaction.atomic():
        order.save(change=Change(actor=staff, note="Not this one", notify=False, occurred_at=LONG_AGO))
    order.status = "shipped"
    order.save()
    change = newest_change(order)
    assert (change.actor, change.note, change.notify) == (None, "", True)
    assert timezone.now() - change.occurred_at < timedelta(minutes=1)


def test_a_change_says_who_why_and_when(order: Order, staff: User):
    order.status = "shipped"
    order.save(change=Change(actor=staff, note="On its way", notify=False, occurred_at=LONG_AGO))
    change = newest_change(order)
    assert (change.actor, change.note, change.notify, change.occurred_at) == (staff, "On its way", False, LONG_AGO)
    assert row().status_since == LONG_AGO


# After a rollback.


def test_what_was_rolled_back_is_saved_by_the_next_try(order: Order):
    order.status, order.carrier = "shipped", "DHL"
    with rolled_back():
        order.save()
    order.save()
    assert (row().status, row().carrier, row().version) == ("shipped", "DHL", 2)
    assert steps() == [("", "pending"), ("pending", "shipped")]
    assert Notification.objects.filter(kind="order.status_changed").count() == 1


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_outside_any_other_transaction_is_saved_by_the_next_try(order: Order):
    order.status = "shipped"
    for _ in range(2):
        with rolled_back():
            order.save()
    order.save()
    assert (row().status, row().version) == ("shipped", 2)
    assert steps() == [("", "pending"), ("pending", "shipped")]


@pytest.mark.parametrize("key", [None, 4711], ids=["key-of-the-database", "key-of-its-own"])
def test_a_new_order_that_was_rolled_back_is_inserted_by_the_next_try(key: int | None, alice: User):
    order = Order(pk=key, number="SO-1", customer=alice)
    with rolled_back():
        order.save()
        order.carrier = "DHL"
        order.save()
    order.save()
    assert (row().pk, row().carrier, row().version) == (order.pk, "DHL", 1)
    assert key is None or order.pk == key
    assert steps() == [("", "pending")]
    assert Notification.objects.filter(kind="order.created").count() == 1


def test_a_new_order_that_was_rolled_back_never_takes_the_row_that_now_has_its_key(alice: User):
    """SQLite gives the key of an INSERT that was rolled back to the next one."""
    first, second = Order(number="SO-1", customer=alice), Order(number="SO-2", customer=alice)
    with rolled_back():
        first.save()
        second.save()
    second.save()
    first.save()
    assert set(Order.objects.values_list("number", "pk")) == {("SO-1", first.pk), ("SO-2", second.pk)}
    assert first.pk != second.pk


def test_each_savepoint_takes_back_its_own_saves_and_no_other(order: Order):
    with transaction.atomic():
        order.status = "processing"
        order.save()
        with rolled_back():
            order.status = "shipped"
            order.save()
            with transaction.atomic():
                order.carrier = "DHL"
                order.save()
        assert (row().status, row().version) == ("processing", 2)
        order.save()
    assert (row().status, row().carrier, row().version) == ("shipped", "DHL", 3)
    assert steps() == [("", "pending"), ("pending", "processing"), ("processing", "shipped")]


def test_saves_of_one_transaction_see_each_other(order: Order):
    with transaction.atomic():
        order.status = "processing"
        order.save()
        order.save()
        order.carrier = "DHL"
        order.save()
        order.status = "shipped"
        order.save()
    assert (row().status, row().carrier, row().version) == ("shipped", "DHL", 4)
    assert steps() == [("", "pending"), ("pending", "processing"), ("processing", "shipped")]


def test_after_a_rollback_nothing_is_overwritten_that_took_the_same_version(order: Order):
    order.status = "shipped"
    with rolled_back():
        order.save()
    services.change_status(order=order, to="cancelled")
    order.carrier = "DHL"
    for _ in range(2):
        with pytest.raises(StaleOrder):
            order.save()
    assert (row().status, row().carrier, row().version) == ("cancelled", "", 2)


def test_what_was_read_in_a_transaction_that_was_rolled_back_overwrites_nothing(order: Order):
    with rolled_back():
        services.change_status(order=order, to="shipped")
        read = row()
    services.change_status(order=order, to="cancelled")
    assert read.version == row().version
    read.carrier = "DHL"
    with pytest.raises(StaleOrder), transaction.atomic():
        read.save()
    assert (row().status, row().carrier) == ("cancelled", "")


def test_what_was_read_again_before_the_rollback_is_saved_by_the_next_try(order: Order):
    with rolled_back():
        order.status = "shipped"
        order.save()
        order.refresh_from_db()
    order.save()
    assert (row().status, row().version) == ("shipped", 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda order: services.change_status(order=order, to="shipped").order,
        lambda order: in_bulk("shipped")[0],
    ],
    ids=["service", "bulk"],
)
def test_what_a_service_gave_is_not_taken_for_saved_when_the_callers_transaction_is_undone(
    change: Callable[[Order], Order], order: Order
):
    with rolled_back():
        given = change(order)
    given.save()
    assert (row().status, row().version) == ("shipped", 2)
    assert steps() == [("", "pending"), ("pending", "shipped")]


def test_what_bulk_gave_can_be_saved_on(order: Order):
    first, last = in_bulk("processing", "shipped")
    first.carrier = "GLS"
    with pytest.raises(StaleOrder), transaction.atomic():
        first.save()
    last.carrier = "DHL"
    last.save()
    assert (row().status, row().carrier, row().version) == ("shipped", "DHL", 4)


def test_an_order_that_was_deleted_meanwhile_is_stale(order: Order):
    loaded, saved = row(), row()
    saved.carrier = "DHL"
    saved.save()
    row().delete()
    loaded.carrier = "DHL"
    for gone in (loaded, saved):
        with pytest.raises(StaleOrder), transaction.atomic():
            gone.save()
    assert not Order.objects.exists()


# What was loaded in part, or again.


@pytest.mark.parametrize(
    "load",
    [
        lambda orders: orders.only("status"),
        lambda orders: orders.defer("version"),
        lambda orders: orders.defer("updated_at"),
        lambda orders: orders.defer("version", "updated_at"),
        lambda orders: orders.only("number", "version", "updated_at"),
        lambda orders: orders.only("carrier", "version"),
    ],
    ids=["status", "no-version", "no-time", "no-stamp", "stamp", "version"],
)
@pytest.mark.parametrize("read", [[], ["version", "updated_at"], ["version", "updated_at", *Order.VERSIONED]])
def test_what_was_loaded_in_part_overwrites_nothing(
    read: list[str], load: Callable[[QuerySet[Order]], QuerySet[Order]], order: Order
):
    partly = load(Order.objects.all()).get()
    services.update_order(order=order, to="cancelled", fields={"carrier": "GLS", "number": "SO-1b"})
    for name in read:  # each by itself, as deferred columns are
        getattr(partly, name)
    partly.status = "shipped"
    for _ in range(2):
        with pytest.raises(StaleOrder), transaction.atomic():
            partly.save()
    assert (row().status, row().carrier, row().version) == ("cancelled", "GLS", 2)


@pytest.mark.parametrize("names", [["status"], ["carrier"]])
def test_what_was_loaded_in_part_is_completed_by_one_statement(names: list[str], order: Order):
    partly = Order.objects.select_related("customer").only(*names, "customer").get()
    partly.carrier = "DHL"
    # The rest of the row, the UPDATE, and the notification.
    assert len(statements(partly.save)) == 1 + WRITING + NOTIFYING
    assert (row().carrier, row().version) == ("DHL", 2)


def test_reading_the_stamp_again_makes_nobody_newer(order: Order):
    services.change_status(order=row(), to="cancelled")
    order.refresh_from_db(fields=["version", "updated_at"])
    order.status = "shipped"
    with pytest.raises(StaleOrder):
        order.save()


def test_an_order_that_was_read_again_under_a_lock_is_saved_from_there(order: Order):
    services.change_status(order=row(), to="processing")
    with transaction.atomic():
        order.refresh_from_db(from_queryset=Order.objects.select_for_update())
        order.status = "shipped"
        order.save()
    assert steps() == [("", "pending"), ("pending", "processing"), ("processing", "shipped")]


def test_a_queryset_that_defers_columns_refreshes_no_order(order: Order):
    order.carrier = "DHL"
    with pytest.raises(ValueError, match="fields"):
        order.refresh_from_db(from_queryset=Order.objects.only("status"))
    order.save()
    assert row().carrier == "DHL"


def test_an_order_that_came_along_with_another_row_is_saved_like_any(order: Order):
    loaded = StatusChange.objects.select_related("order").only("order__status", "to_status").get().order
    services.update_order(order=order, fields={"carrier": "GLS"})
    whole = StatusChange.objects.select_related("order").get().order
    whole.status = "shipped"
    whole.save()
    loaded.status = "cancelled"
    with pytest.raises(StaleOrder):
        loaded.save()
    assert steps() == [("", "pending"), ("pending", "shipped")]


# Ways of saving, and of copying.


def test_the_managers_ways_of_saving_are_recorded(alice: User):
    Order.objects.create(number="SO-1", customer=alice)
    alice.orders.create(number="SO-2")
    Order.objects.get_or_create(number="SO-3", defaults={"customer": alice})
    for status in ("processing", "shipped"):
        Order.objects.update_or_create(number="SO-4", defaults={"customer": alice, "status": status})
    assert steps() == [("", "pending")] * 3 + [("", "processing"), ("processing", "shipped")]
    assert Order.objects.get(number="SO-4").version == 2


@pytest.mark.parametrize("make", [copy, deepcopy, lambda order: pickle.loads(pickle.dumps(order))])  # noqa: S301  (its own)
def test_a_copy_knows_what_the_original_knew_and_no_more(make: Callable[[Order], Order], order: Order):
    other = make(order)
    order.status = "shipped"
    order.save()
    other.carrier = "DHL"
    with pytest.raises(StaleOrder), transaction.atomic():
        other.save()
    again = make(order)
    again.carrier = "DHL"
    again.save()
    assert steps() == [("", "pending"), ("pending", "shipped")]


@pytest.mark.parametrize("save", [{}, {"force_insert": True}], ids=["without-a-key", "force_insert"])
def test_a_row_is_duplicated_by_taking_its_key_away(save: dict[str, Any], order: Order):
    order.pk, order.number = None, "SO-2"
    order.save(**save)
    assert set(Order.objects.values_list("number", flat=True)) == {"SO-1", "SO-2"}
    assert steps() == [("", "pending")] * 2


def test_an_instance_that_is_inserted_once_more_is_refused_and_not_silently_left(order: Order):
    with pytest.raises(IntegrityError), transaction.atomic():
        order.save(force_insert=True)
    order.carrier = "DHL"
    order.save()
    assert row().carrier == "DHL"


def test_an_instance_that_takes_the_key_of_another_row_overwrites_nothing(order: Order):
    loaded, other = row(), make_order("SO-2")
    loaded.pk, loaded.carrier = other.pk, "DHL"
    with pytest.raises(StaleOrder):
        loaded.save()


def test_an_instance_that_was_put_together_by_hand_overwrites_nothing(order: Order, bob: User):
    made = Order(pk=order.pk, number="SO-2", customer=bob)
    made._state.adding = False
    with pytest.raises(StaleOrder, match="not loaded"):
        made.save()


# A save that fails half-way, and receivers of Django's own signals.


class Undone(Exception):
    """What a receiver raises."""


def fail(**_: Any) -> None:
    raise Undone


@contextmanager
def receiving(signal: Any, receiver: Callable[..., None], sender: Any = None) -> Iterator[None]:
    signal.connect(receiver, sender=sender)
    try:
        yield
    finally:
        signal.disconnect(receiver, sender=sender)


@pytest.mark.parametrize(
    ("signal", "sender"), [(pre_save, Order), (post_save, Order), (orders_changed, None)], ids=["pre", "post", "ours"]
)
def test_a_save_that_a_receiver_undid_is_made_by_the_next_try(signal: Any, sender: Any, order: Order):
    order.status = "shipped"
    with receiving(signal, fail, sender), pytest.raises(Undone), transaction.atomic():
        order.save(change=Change(occurred_at=LONG_AGO))
    order.save()
    assert (row().status, row().version) == ("shipped", 2)
    assert timezone.now() - row().status_since < timedelta(minutes=1)
    assert steps() == [("", "pending"), ("pending", "shipped")]


@pytest.mark.django_db(transaction=True)
def test_a_new_order_that_a_receiver_undid_is_inserted_by_the_next_try(alice: User):
    order = Order(number="SO-1", customer=alice)
    with receiving(post_save, fail, Order), pytest.raises(Undone):
        order.save()
    assert not Order.objects.exists()
    order.save()
    assert row().pk == order.pk
    assert steps() == [("", "pending")]


def test_a_receiver_that_saves_the_order_once_more_finds_the_first_save_recorded(order: Order):
    def ship(instance: Order, **_: Any) -> None:
        if instance.status == "processing":
            instance.status = "shipped"
            instance.save()

    with receiving(post_save, ship, Order):
        order.status = "processing"
        order.save(change=Change(note="First"))
    assert steps() == [("", "pending"), ("pending", "processing"), ("processing", "shipped")]
    assert [change.note for change in order.history.all()] == ["", "First", ""]
    assert (row().status, row().version) == ("shipped", 3)


def test_a_save_that_django_signals_to_nobody_is_recorded_all_the_same(order: Order):
    post_save.disconnect(record_save, sender=Order)
    try:
        order.status = "shipped"
        order.save()
    finally:
        post_save.connect(record_save, sender=Order)
    assert steps() == [("", "pending"), ("pending", "shipped")]


def test_what_a_receiver_sets_beside_the_change_is_written_by_the_next_save(order: Order):
    def route(instance: Order, **_: Any) -> None:
        instance.carrier = "DHL"

    with receiving(pre_save, route, Order):
        order.status = "shipped"
        order.save()
    order.save()
    assert row().carrier == "DHL"


# What it costs.


@pytest.mark.django_db(transaction=True)
def test_the_compare_and_set_costs_no_statement(order: Order):
    loaded = Order.objects.select_related("customer").get()
    loaded.carrier = "DHL"
    # The UPDATE, and the notification; BEGIN is one where Django counts it.
    done = [sql for sql in statements(loaded.save) if not sql.startswith(("BEGIN", "COMMIT"))]
    assert len(done) == WRITING + NOTIFYING
    assert not statements(loaded.save)


def test_a_second_save_in_one_transaction_reads_the_stamp_once(order: Order):
    loaded = Order.objects.select_related("customer").get()
    for carrier, expected in (("DHL", WRITING + NOTIFYING), ("GLS", 1 + WRITING + NOTIFYING)):
        loaded.carrier = carrier
        assert len(statements(loaded.save)) == expected
