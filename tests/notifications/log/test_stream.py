"""The stream: numbers without gaps and in commit order, whatever runs at the same time and whatever is rolled back."""

import json
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from notifications.log import retention, stream
from notifications.models import Notification, Stream
from notifications.protocol import Reset
from tests.database import OpenTransaction, elsewhere, on_postgres, somebody_waits_for_a_lock, together
from tests.notifications.conftest import event, numbers, tell
from tests.polling import poll

STREAM, LOG = Stream._meta.db_table, Notification._meta.db_table


# Rules in the database.

BROKEN = {
    "stream_read_within_head": f"UPDATE {STREAM} SET read_up_to = head + 1",
    "stream_trimmed_within_head": f"UPDATE {STREAM} SET trimmed_up_to = head + 1",
    "notification_seq_from_one": f"UPDATE {LOG} SET seq = 0",
}


@pytest.mark.parametrize("constraint", BROKEN)
def test_the_database_keeps_the_rule(constraint: str, alice: User):
    tell(alice)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(BROKEN[constraint])


def test_every_constraint_has_its_test_above():
    assert {c.name for model in (Stream, Notification) for c in model._meta.constraints} == BROKEN.keys()


def test_a_number_is_given_once(alice: User):
    tell(alice, 2)
    with pytest.raises(IntegrityError), transaction.atomic():
        Notification.objects.filter(seq=2).update(seq=F("seq") - 1)


# Appending.


@pytest.mark.django_db(transaction=True)
def test_appending_outside_a_transaction_is_refused(alice: User):
    with pytest.raises(transaction.TransactionManagementError, match="transaction of the change"):
        stream.append([event(alice)])
    assert numbers(alice) == []


def test_each_user_has_numbers_of_their_own(alice: User, bob: User):
    with transaction.atomic():
        stream.append([event(alice), event(bob), event(alice)])
    tell(alice)
    assert (numbers(alice), numbers(bob)) == ([1, 2, 3], [1])


def test_events_of_one_call_keep_their_order(alice: User):
    with transaction.atomic():
        stream.append([event(alice, note) for note in "abc"])
    assert [json.loads(entry.frame)["note"] for entry in stream.read_after({alice.pk: 0})[alice.pk]] == ["a", "b", "c"]


def test_a_frame_is_stored_as_it_is_sent_with_its_number_in_it(alice: User):
    tell(alice, 2, note="späť ✓")
    [_, entry] = stream.read_after({alice.pk: 0})[alice.pk]
    assert entry.seq == json.loads(entry.frame)["seq"] == 2
    assert "späť ✓" in entry.frame
    assert "\n" not in entry.frame


def test_nothing_to_append_asks_for_nothing(db: None, django_assert_num_queries: Any):
    with django_assert_num_queries(0):
        stream.append([])


def test_the_number_of_statements_does_not_grow_with_events(alice: User, bob: User, django_assert_num_queries: Any):
    statements = 2 if connection.vendor == "postgresql" else 3  # SQLite has no number of a transaction
    for events in ([event(alice)], [event(user) for user in (alice, bob) for _ in range(50)]):
        with transaction.atomic(), django_assert_num_queries(statements):
            stream.append(events)


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_leaves_no_gap(alice: User):
    tell(alice)
    with transaction.atomic():
        stream.append([event(alice), event(alice)])
        transaction.set_rollback(True)
    tell(alice)
    assert numbers(alice) == [1, 2]


def test_a_savepoint_that_is_rolled_back_leaves_no_gap(alice: User):
    with transaction.atomic():
        tell(alice)
        with transaction.atomic():
            tell(alice)
            transaction.set_rollback(True)
        tell(alice)
    assert numbers(alice) == [1, 2]


@pytest.mark.django_db(transaction=True)
def test_many_at_once_leave_neither_gaps_nor_doubles(alice: User, bob: User):
    def write() -> None:
        for number in range(20):
            with transaction.atomic():
                stream.append([event(bob), event(alice), event(alice)])
                transaction.set_rollback(number % 5 == 0)

    assert together(*[write] * 4) == [None] * 4
    written = 4 * 16
    assert numbers(alice) == list(range(1, 2 * written + 1))
    assert numbers(bob) == list(range(1, written + 1))
    assert stream.position(alice.pk).head == 2 * written


@on_postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("end", "notes"), [("commit", ["first", "second"]), ("roll_back", ["second"])])
def test_numbers_are_in_the_order_of_the_commits(end: str, notes: list[str], alice: User):
    with elsewhere() as one, elsewhere() as other:
        first = OpenTransaction(one, lambda: stream.append([event(alice, "first")]))
        second = other.begin(lambda: tell(alice, note="second"))
        poll(somebody_waits_for_a_lock, saying="the second waits for the first to end")
        assert numbers(alice) == []
        getattr(first, end)()
        second.result()
    entries = stream.read_after({alice.pk: 0})[alice.pk]
    assert [entry.seq for entry in entries] == list(range(1, len(notes) + 1))
    assert [json.loads(entry.frame)["note"] for entry in entries] == notes


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_two_batches_for_the_same_users_never_wait_for_each_other(alice: User, bob: User):
    with elsewhere() as one, elsewhere() as other:
        first = transaction.atomic()
        one.do(first.__enter__)
        one.do(lambda: stream.append([event(alice)]))

        def append_to_both() -> None:
            with transaction.atomic():
                stream.append([event(bob), event(alice)])

        second = other.begin(append_to_both)
        poll(somebody_waits_for_a_lock, saying="the second batch waits for alice's stream")
        # Had it taken bob's before, these two would wait for each other now.
        one.do(lambda: stream.append([event(bob)]))
        one.do(lambda: first.__exit__(None, None, None))
        second.result()
    assert numbers(alice) == numbers(bob) == [1, 2]


# Reading.


def test_reading_goes_on_page_by_page(alice: User):
    tell(alice, 7)
    pages, after = [], 0
    while page := stream.read_after({alice.pk: after}, limit=3)[alice.pk]:
        pages.append([entry.seq for entry in page])
        after = page[-1].seq
    assert pages == [[1, 2, 3], [4, 5, 6], [7]]


def test_many_streams_are_read_at_once_each_from_its_own_position(
    alice: User, bob: User, staff: User, django_assert_num_queries: Any
):
    tell(alice, 3)
    tell(bob, 3)
    with django_assert_num_queries(1):
        entries = stream.read_after({alice.pk: 1, bob.pk: 3, staff.pk: 0})
    assert {user: [entry.seq for entry in found] for user, found in entries.items()} == {
        alice.pk: [2, 3],
        bob.pk: [],
        staff.pk: [],
    }


def test_more_streams_than_one_statement_names_are_read_and_written(alice: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream, "STREAMS_PER_QUERY", 2)
    users = [alice, *[User.objects.create(username=f"customer{number}") for number in range(4)]]
    with transaction.atomic():
        stream.append([event(user) for user in users])
    entries = stream.read_after({user.pk: 0 for user in users})
    assert [[entry.seq for entry in found] for found in entries.values()] == [[1]] * 5


# Positions.


def test_a_user_without_a_stream_gets_one_that_can_be_named(alice: User):
    position = stream.position(alice.pk)
    assert (position.head, position.unread) == (0, 0)
    assert stream.position(alice.pk).uid == position.uid


@pytest.mark.django_db(transaction=True)
def test_first_positions_asked_for_at_once_are_the_same(alice: User):
    positions = together(*[partial(stream.position, alice.pk)] * 4)
    assert len(set(positions)) == 1
    assert isinstance(positions[0], stream.Position)


@pytest.mark.django_db(transaction=True)
def test_a_user_who_is_gone_has_no_position_and_keeps_nobody_elses_back(alice: User, bob: User):
    gone = bob.pk
    bob.delete()
    assert stream.positions([alice.pk, gone]).keys() == {alice.pk}


def test_two_users_have_streams_of_different_names(alice: User, bob: User):
    assert stream.position(alice.pk).uid != stream.position(bob.pk).uid


def test_reading_marks_go_forward_only_and_never_beyond_the_head(alice: User):
    tell(alice, 5)
    assert stream.mark_read(alice.pk, 3).unread == 2
    assert stream.mark_read(alice.pk, 1).unread == 2
    assert stream.mark_read(alice.pk, 99).unread == 0
    tell(alice)
    assert stream.position(alice.pk).unread == 1


def test_a_user_without_a_stream_has_read_everything(alice: User):
    assert stream.mark_read(alice.pk, 5).unread == 0


# A page of one stream.


def page(user: User, after: int, **options: Any) -> tuple[list[int], Reset | None]:
    found = stream.read_page(user.pk, after, **options)
    return [entry.seq for entry in found.entries], found.reset


@pytest.fixture
def trimmed(alice: User) -> User:
    """Alice, whose first five notifications of seven are gone."""
    tell(alice, 5)
    Notification.objects.update(at=timezone.now() - timedelta(days=31))
    tell(alice, 2)
    assert retention.trim() == 5
    return alice


def test_a_page_of_a_trimmed_stream_is_not_empty_and_says_what_is_lost(trimmed: User):
    assert page(trimmed, 0, limit=5) == ([6, 7], Reset.TRIMMED)
    assert page(trimmed, 4) == ([6, 7], Reset.TRIMMED)
    assert page(trimmed, 5) == ([6, 7], None)
    assert page(trimmed, 6, limit=1) == ([7], None)
    assert page(trimmed, 7) == ([], None)


def test_a_page_passes_over_what_was_deleted_by_hand_and_says_so(alice: User):
    tell(alice, 5)
    Notification.objects.filter(seq__lte=3).delete()
    assert page(alice, 0, limit=2) == ([4, 5], Reset.TRIMMED)


def test_a_page_after_what_this_stream_never_had_says_so(alice: User):
    tell(alice)
    assert page(alice, 9) == ([], Reset.AHEAD)
    assert page(alice, 1, stream_uid="another")[1] is Reset.UNKNOWN_STREAM
    assert page(alice, 1, stream_uid=stream.position(alice.pk).uid) == ([], None)


def test_only_what_can_be_read_is_unread(trimmed: User):
    assert stream.position(trimmed.pk).unread == 2
    assert stream.mark_read(trimmed.pk, 3).unread == 2
    assert stream.mark_read(trimmed.pk, 6).unread == 1


# What has changed.


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_a_stream_can_be_read_while_its_first_entry_is_written(alice: User):
    with elsewhere() as other:
        writing = OpenTransaction(other, lambda: stream.append([event(alice)]))
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '2s'")
            assert stream.position(alice.pk).head == 0
        writing.commit()
    assert stream.position(alice.pk).head == 1


@pytest.mark.django_db
def test_who_was_there_before_is_given_a_stream_by_the_migration(alice: User, bob: User):
    migration = import_module("notifications.migrations.0002_streams_of_users")
    kept = stream.position(bob.pk).uid
    Stream.objects.filter(user=alice).delete()
    migration.begin_streams(apps, None)
    assert set(Stream.objects.values_list("user", flat=True)) >= {alice.pk, bob.pk}
    assert stream.position(bob.pk).uid == kept


@pytest.mark.django_db(transaction=True)
def test_trimming_leaves_the_rest_with_its_numbers_and_says_how_far_it_went(alice: User, bob: User):
    tell(alice, 3)
    Notification.objects.update(at=timezone.now() - timedelta(days=31))
    tell(alice, 2)
    tell(bob)
    assert retention.trim(timezone.now() - timedelta(days=30)) == 3
    assert numbers(alice) == [4, 5]
    assert (stream.position(alice.pk).trimmed_up_to, stream.position(bob.pk).trimmed_up_to) == (3, 0)
    tell(alice)
    assert numbers(alice) == [4, 5, 6]
