"""The services: one locked row, one lifecycle, one transaction for a change and all that it causes."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications.models import Notification
from orders import conversation, selectors, services
from orders.history import MAX_LOOKED_AT
from orders.lifecycle import Status, is_legal
from orders.models import Change, Order, StatusChange
from orders.signals import orders_changed
from tests.database import (
    NOTIFYING,
    WRITING,
    OpenTransaction,
    elsewhere,
    on_postgres,
    somebody_waits_for_a_lock,
    together,
)
from tests.orders.conftest import make_order, newest_change
from tests.polling import poll


def ago(**span: float) -> datetime:
    return timezone.now() - timedelta(**span)


def story(order: Order) -> list[str]:
    """The statuses of the order, in the order in which they happened."""
    return list(selectors.timeline_of(order).values_list("to_status", flat=True))


def history(order: Order) -> list[tuple[str, bool]]:
    return list(order.history.values_list("to_status", "applied"))


# Creating.


def test_an_unknown_customer_is_created_without_a_password(db: None):
    order = services.create_order(number="SO-1", customer="carol")
    assert order.customer.get_username() == "carol"
    assert not get_user_model().objects.get(username="carol").has_usable_password()


def test_a_customer_is_known_by_the_name_that_the_log_in_form_makes_of_it(alice: User):
    assert services.create_order(number="SO-1", customer="\uff41lice").customer == alice  # a full-width a


def test_a_known_customer_keeps_their_password(alice: User):
    assert services.create_order(number="SO-1", customer="alice").customer == alice
    alice.refresh_from_db()
    assert alice.has_usable_password()


def test_a_taken_number_leaves_the_transaction_usable_and_nothing_behind(order: Order):
    with transaction.atomic():
        with pytest.raises(services.NumberTaken):
            services.create_order(number=order.number, customer="carol")
        assert Order.objects.count() == 1
    assert StatusChange.objects.count() == 1
    assert not get_user_model().objects.filter(username="carol").exists()


@pytest.mark.django_db(transaction=True)
def test_of_those_who_create_one_number_at_once_one_succeeds():
    def create() -> Order:
        return services.create_order(number="SO-1", customer="alice")

    outcomes = together(*[create] * 4)
    refusals = [outcome for outcome in outcomes if not isinstance(outcome, Order)]
    assert [type(refusal) for refusal in refusals] == [services.NumberTaken] * 3, refusals
    assert StatusChange.objects.count() == 1


def test_an_order_has_had_its_status_since_it_was_placed(alice: User):
    order = make_order(placed_at=ago(days=2))
    assert order.status_since == order.placed_at


def test_a_shop_whose_clock_is_ahead_can_update_what_it_has_just_placed(alice: User):
    order = make_order(placed_at=timezone.now() + timedelta(minutes=2))
    outcome = services.change_status(order=order, to="processing", occurred_at=timezone.now())
    assert outcome.applied
    assert outcome.order.status_since <= timezone.now()


# Changing the status.


def test_a_legal_step_is_taken_and_recorded(order: Order, staff: User):
    outcome = services.change_status(order=order, to="shipped", actor=staff, note="On its way")
    assert (outcome.applied, outcome.order.status, outcome.order.version) == (True, "shipped", 2)
    change = newest_change(order)
    assert (change.from_status, change.to_status, change.applied) == ("pending", "shipped", True)
    assert (change.actor, change.note, change.notify) == (staff, "On its way", True)


def test_an_illegal_step_is_refused_with_what_is_allowed(order: Order, staff: User):
    staff.user_permissions.clear()
    with pytest.raises(services.IllegalTransition) as refusal:
        services.change_status(order=order, to="returned", actor=staff, note="Because")
    assert refusal.value.allowed == [
        "processing",
        "on_hold",
        "shipped",
        "out_for_delivery",
        "delivered",
        "cancelled",
    ]
    assert history(order) == [("pending", True)]


def test_nobody_in_particular_overrides_the_lifecycle(order: Order):
    with pytest.raises(services.IllegalTransition):
        services.change_status(order=order, to="returned", note="Because")


def test_who_may_override_says_why(order: Order, staff: User):
    with pytest.raises(services.NoteRequired):
        services.change_status(order=order, to="returned", actor=staff)
    assert services.change_status(order=order, to="returned", actor=staff, note="Lost by the carrier").applied
    assert newest_change(order).note == "Lost by the carrier"


def test_a_repeated_status_is_kept_and_moves_nothing(order: Order):
    outcome = services.change_status(order=order, to="pending")
    assert (outcome.applied, outcome.order.version) == (False, 1)
    assert history(order) == [("pending", True), ("pending", False)]


def test_a_late_update_never_moves_an_order_backwards(order: Order):
    services.change_status(order=order, to="delivered", occurred_at=ago(minutes=10))
    outcome = services.change_status(order=order, to="out_for_delivery", occurred_at=ago(minutes=20))
    assert (outcome.applied, outcome.order.status, outcome.order.version) == (True, "delivered", 2)
    assert story(order) == ["pending", "out_for_delivery", "delivered"]
    assert not newest_change(order).notify


def test_a_late_update_that_the_order_ends_further_along_without_is_kept_and_moves_nothing(order: Order):
    services.change_status(order=order, to="shipped", occurred_at=ago(minutes=10))
    outcome = services.change_status(order=order, to="on_hold", occurred_at=ago(minutes=20))
    assert (outcome.applied, outcome.order.status, outcome.order.version) == (False, "shipped", 2)
    assert history(order) == [("pending", True), ("shipped", True), ("on_hold", False)]


def test_a_late_update_moves_an_order_that_ends_further_along_with_it(order: Order):
    services.change_status(order=order, to="out_for_delivery", occurred_at=ago(minutes=10))
    at = ago(minutes=15)
    outcome = services.change_status(order=order, to="delivered", occurred_at=at, note="Left with a neighbour")
    assert (outcome.applied, outcome.order.status, outcome.order.version) == (True, "delivered", 3)
    assert outcome.order.status_since == Order.objects.get().status_since == at
    assert history(order) == [("pending", True), ("out_for_delivery", False), ("delivered", True)]
    assert (newest_change(order).from_status, newest_change(order).notify) == ("pending", True)


def test_a_repeated_status_is_news_that_a_late_update_meets(order: Order):
    services.change_status(order=order, to="shipped", occurred_at=ago(minutes=50))
    services.change_status(order=order, to="out_for_delivery", occurred_at=ago(minutes=40))
    again = ago(minutes=20)
    services.change_status(order=order, to="out_for_delivery", occurred_at=again)
    outcome = services.change_status(order=order, to="shipped", occurred_at=ago(minutes=30))
    assert (outcome.applied, outcome.order.status, outcome.order.status_since) == (True, "out_for_delivery", again)
    assert story(order) == ["pending", "shipped", "out_for_delivery", "shipped", "out_for_delivery"]


def test_an_order_whose_beginning_nobody_told_may_have_moved_before_it(alice: User):
    order = services.create_order(number="SO-1", customer="alice")
    at = ago(minutes=10)
    outcome = services.change_status(order=order, to="shipped", occurred_at=at)
    assert (outcome.applied, outcome.order.status, outcome.order.status_since) == (True, "shipped", at)
    services.change_status(order=order, to="processing", occurred_at=ago(minutes=20))
    assert story(order) == ["pending", "processing", "shipped"]
    assert not selectors.numbers_of_unrecorded_changes()


def test_an_order_may_come_to_us_on_its_way(alice: User):
    at = ago(minutes=10)
    order = services.create_order(number="SO-1", customer="alice", status="shipped", occurred_at=at)
    assert (order.status, order.status_since, order.placed_at) == ("shipped", at, at)
    assert services.change_status(order=order, to="processing", occurred_at=ago(minutes=20)).order.status == "shipped"
    assert services.change_status(order=order, to="delivered", occurred_at=ago(minutes=5)).order.status == "delivered"
    assert story(order) == ["processing", "shipped", "delivered"]
    with pytest.raises(services.OccurredInFuture):
        services.create_order(number="SO-2", customer="alice", status="shipped", occurred_at=ago(minutes=-6))


def test_the_same_status_of_the_same_moment_is_the_same_news(order: Order):
    at = ago(minutes=10)
    for _ in range(2):
        services.change_status(order=order, to="shipped", occurred_at=at)
    services.change_status(order=order, to="delivered", occurred_at=ago(minutes=5))
    outcome = services.change_status(order=order, to="shipped", occurred_at=at)
    assert (outcome.applied, outcome.order.status) == (False, "delivered")
    assert history(order) == [("pending", True), ("shipped", True), ("delivered", True)]


def test_the_shipment_of_a_late_update_fills_what_is_empty_and_the_rest_is_named(order: Order):
    services.update_order(order=order, to="delivered", fields={"carrier": "DHL"}, occurred_at=ago(minutes=10))
    outcome = services.update_order(
        order=order,
        to="shipped",
        fields={"carrier": "UPS", "tracking_number": "0034", "total": 12, "metadata": {}},
        occurred_at=ago(minutes=20),
    )
    assert (outcome.applied, outcome.ignored, outcome.order.version) == (True, ("carrier", "total"), 3)
    fresh = Order.objects.get()
    assert (fresh.status, fresh.carrier, fresh.tracking_number, fresh.total) == ("delivered", "DHL", "0034", None)


def test_an_older_update_that_makes_the_status_brings_all_of_its_fields(order: Order):
    services.update_order(order=order, to="processing", fields={"carrier": "DHL"}, occurred_at=ago(minutes=10))
    outcome = services.update_order(
        order=order, to="shipped", fields={"carrier": "UPS"}, occurred_at=ago(minutes=10, seconds=2)
    )
    assert (outcome.order.status, outcome.order.carrier, outcome.ignored) == ("shipped", "UPS", ())


def test_a_note_of_news_that_are_known_is_named_if_it_is_another(order: Order):
    at = ago(minutes=10)
    services.change_status(order=order, to="shipped", occurred_at=at, note="Two parcels")
    assert services.change_status(order=order, to="shipped", occurred_at=at, note="Two parcels").ignored == ()
    assert services.change_status(order=order, to="shipped", occurred_at=at, note="Three").ignored == ("note",)


def test_a_late_update_leaves_a_status_alone_that_was_not_recorded_yet(order: Order):
    services.change_status(order=order, to="shipped", occurred_at=ago(minutes=10))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orders_order SET status = 'delivered'")
    outcome = services.change_status(order=order, to="processing", occurred_at=ago(minutes=20))
    assert (outcome.applied, outcome.order.status) == (False, "delivered")


def test_of_a_history_without_end_the_newest_part_is_looked_at(order: Order):
    began = order.placed_at + timedelta(minutes=1)
    services.change_status(order=order, to="shipped", occurred_at=began)
    repeats = [
        Change(occurred_at=began + timedelta(seconds=n)).entry(order, from_status="shipped", applied=False)
        for n in range(1, 2 * MAX_LOOKED_AT)
    ]
    for entry in repeats:
        entry.to_status = "shipped"
    StatusChange.objects.bulk_create(repeats)
    Order.objects.update(news_at=repeats[-1].occurred_at)
    outcome = services.change_status(order=order, to="delivered", occurred_at=repeats[-2].occurred_at)
    assert (outcome.applied, outcome.order.status) == (True, "delivered")


def test_updates_of_one_moment_are_taken_in_the_order_they_come(order: Order):
    moment = ago(minutes=5)
    assert services.change_status(order=order, to="shipped", occurred_at=moment).applied
    outcome = services.change_status(order=order, to="delivered", occurred_at=moment)
    assert outcome.applied
    assert outcome.order.status_since == moment


def test_an_update_from_the_future_is_refused(order: Order):
    with pytest.raises(services.OccurredInFuture):
        services.change_status(order=order, to="shipped", occurred_at=timezone.now() + timedelta(minutes=6))
    assert history(order) == [("pending", True)]


def test_a_clock_a_little_ahead_is_taken_for_now(order: Order):
    outcome = services.change_status(order=order, to="shipped", occurred_at=timezone.now() + timedelta(minutes=4))
    assert outcome.applied
    assert outcome.order.status_since <= timezone.now()
    # ... so that the next true update is not late.
    assert services.change_status(order=order, to="delivered", occurred_at=timezone.now()).applied


def test_an_update_without_a_time_never_turns_the_time_back(order: Order):
    Order.objects.update(status_since=timezone.now() + timedelta(seconds=30))  # another process's clock
    outcome = services.change_status(order=order, to="shipped")
    assert outcome.applied
    assert outcome.order.status_since > timezone.now()


def test_fields_and_status_are_one_new_version(order: Order):
    outcome = services.update_order(order=order, to="shipped", fields={"carrier": "DHL", "total": "12.50"})
    fresh = Order.objects.get()
    assert (fresh.status, fresh.carrier, fresh.total, fresh.version) == ("shipped", "DHL", Decimal("12.5"), 2)
    assert outcome.order.version == 2


def test_a_repeated_status_still_brings_its_fields(order: Order):
    outcome = services.update_order(order=order, to="pending", fields={"carrier": "DHL"})
    assert (outcome.applied, outcome.order.carrier, outcome.order.version) == (False, "DHL", 2)


def test_a_version_that_is_no_longer_the_orders_is_refused(order: Order):
    services.update_order(order=order, fields={"carrier": "DHL"}, versions=[1])
    with pytest.raises(services.VersionMismatch):
        services.update_order(order=order, fields={"carrier": "UPS"}, versions=[1])
    assert Order.objects.get().carrier == "DHL"


def test_a_listener_that_fails_undoes_the_change(order: Order):
    def fail(**_: Any) -> None:
        raise RuntimeError("no room")

    orders_changed.connect(fail)
    try:
        with pytest.raises(RuntimeError, match="no room"), transaction.atomic():
            services.change_status(order=order, to="shipped")
    finally:
        orders_changed.disconnect(fail)
    assert Order.objects.get().status == "pending"
    assert history(order) == [("pending", True)]


# Any sequence of updates.

_updates = st.lists(
    st.tuples(st.sampled_from(Status.values), st.none() | st.integers(min_value=-90, max_value=4)), max_size=12
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(updates=_updates)
def test_any_updates_leave_an_order_with_a_legal_story_that_ends_in_its_status(
    alice: User, updates: list[tuple[str, int | None]]
):
    with transaction.atomic():
        order = make_order()
        began = timezone.now()
        kept = versions = 1
        since, seen = order.status_since, (order.status, order.status_since)
        for to, minutes in updates:
            occurred_at = None if minutes is None else began + timedelta(minutes=minutes)
            try:
                now = services.change_status(order=order, to=to, occurred_at=occurred_at).order
            except services.IllegalTransition:
                continue
            kept += 1
            versions += (now.status, now.status_since) != seen
            seen, since = (now.status, now.status_since), now.status_since
        applied = list(selectors.timeline_of(order))
        assert order.history.count() <= kept
        assert all(one.occurred_at <= other.occurred_at for one, other in pairwise(applied))
        assert all(one.to_status == other.from_status for one, other in pairwise(applied))
        assert all(is_legal(change.from_status, change.to_status) for change in applied[1:])
        fresh = Order.objects.get(pk=order.pk)
        assert (fresh.status, fresh.status_since) == (applied[-1].to_status, since)
        assert fresh.version == versions
        transaction.set_rollback(True)


# Two systems at once.


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_two_systems_that_change_one_order_take_turns(order: Order):
    with elsewhere() as first, elsewhere() as second:
        shipping = OpenTransaction(first, lambda: services.change_status(order=order, to="shipped"))
        delivery = second.begin(lambda: services.change_status(order=order, to="delivered"))
        poll(somebody_waits_for_a_lock, saying="the second system waits for the first")
        shipping.commit()
        assert delivery.result().applied
    assert history(order) == [("pending", True), ("shipped", True), ("delivered", True)]
    assert Order.objects.get().version == 3


@pytest.mark.django_db(transaction=True)
def test_no_update_of_many_at_once_is_lost(order: Order):
    def add(name: str) -> Any:
        def change() -> None:
            for _ in range(5):
                with transaction.atomic():
                    metadata = Order.objects.select_for_update().get(pk=order.pk).metadata
                    metadata[name] = metadata.get(name, 0) + 1
                    services.update_order(order=order, fields={"metadata": metadata})

        return change

    assert together(*[add(name) for name in ("shop", "carrier", "erp")]) == [None] * 3
    fresh = Order.objects.get()
    assert fresh.metadata == {"shop": 5, "carrier": 5, "erp": 5}
    assert fresh.version == 16


def test_a_change_takes_few_statements(order: Order, django_assert_max_num_queries: Any):
    # Lock and load, save, history, the notification; the savepoints around them are the test's own transaction's.
    with django_assert_max_num_queries(6 + WRITING + NOTIFYING) as queries:
        services.change_status(order=order, to="shipped")
    work = [query["sql"] for query in queries.captured_queries if "SAVEPOINT" not in query["sql"]]
    assert len(work) == 2 + WRITING + NOTIFYING, work
    assert connection.in_atomic_block


def test_times_are_kept_in_utc(alice: User):
    order = make_order(placed_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert Order.objects.get(pk=order.pk).placed_at == datetime(2026, 3, 1, 12, tzinfo=UTC)


# Another customer, and none.


def told(user: User) -> list[tuple[str, int, str]]:
    """The kinds, versions and customers of what the user was told, in its order, without a gap."""
    stored = Notification.objects.filter(stream=user.pk).order_by("seq")
    assert [one.seq for one in stored] == list(range(1, len(stored) + 1))
    frames = [json.loads(one.frame) for one in stored]
    return [(frame["kind"], frame["order"]["version"], frame["order"]["customer"]) for frame in frames]


def test_an_order_that_is_given_to_another_customer_is_gone_for_the_one_and_new_for_the_other(
    order: Order, alice: User, bob: User
):
    services.change_status(order=order, to="shipped")
    given = services.change_customer(order=order, customer=bob)
    assert (given.customer, given.version, story(order)) == (bob, 3, ["pending", "shipped"])
    services.change_status(order=order, to="delivered")
    assert told(alice)[2:] == [("order.removed", 3, "alice")]
    assert told(bob) == [("order.created", 3, "bob"), ("order.status_changed", 4, "bob")]


def test_an_order_that_is_given_to_its_own_customer_stays_as_it_is(order: Order, alice: User):
    assert services.change_customer(order=order, customer=alice).version == 1
    assert len(told(alice)) == 1


def test_another_customer_reads_nothing_of_what_the_former_one_has_written(order: Order, alice: User, bob: User):
    conversation.write(order=order, author=alice, text="My secret")
    services.change_customer(order=order, customer=bob)
    assert not conversation.messages_of(Order.objects.get()).exists()


def test_save_refuses_another_customer(order: Order, bob: User):
    order.customer = bob
    with pytest.raises(ValueError, match="change_customer"):
        order.save()
    assert Order.objects.get().customer != bob


def test_an_order_that_is_deleted_is_gone_and_what_was_said_of_it_stays(order: Order, alice: User):
    services.change_status(order=order, to="shipped")
    services.delete_order(order=order)
    assert not Order.objects.exists()
    assert not StatusChange.objects.exists()
    assert [kind for kind, _, _ in told(alice)] == ["order.created", "order.status_changed", "order.removed"]
    again = make_order()
    assert told(alice)[-1] == ("order.created", again.version, "alice")


def test_what_another_has_changed_meanwhile_is_not_deleted(order: Order):
    services.change_status(order=order, to="shipped")
    with pytest.raises(services.VersionMismatch):
        services.delete_order(order=order, versions={1})
    services.delete_order(order=order, versions={2})
    with pytest.raises(Order.DoesNotExist):
        services.delete_order(order=order)


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_orders_that_go_to_and_fro_between_two_customers_never_deadlock(alice: User, bob: User):
    """Each call tells both, and locks their streams in one order."""
    mine, theirs = make_order("SO-A", "alice"), make_order("SO-B", "bob")

    def give(order: Order, *customers: User) -> Any:
        def to_and_fro() -> None:
            for customer in customers * 10:
                services.change_customer(order=order, customer=customer)

        return to_and_fro

    assert together(give(mine, bob, alice), give(theirs, alice, bob)) == [None, None]
    assert len(told(alice)) == len(told(bob)) == 41
