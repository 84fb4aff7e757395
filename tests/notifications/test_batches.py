"""What is over goes batch by batch: all of it, nothing else, and nobody waits for it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from notifications import batches
from notifications.access import expiry
from notifications.batches import BATCH, Deadline
from notifications.log import retention, stream
from notifications.models import Notification, Revocation, Ticket
from tests.database import OpenTransaction, elsewhere, on_postgres
from tests.notifications.conftest import event, numbers, tell

LONG_AGO = timezone.now() - timedelta(days=40)


class AfterOneBatch(Deadline):
    """Passes while the first batch is being deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def passed(self) -> bool:
        self.asked += 1
        return self.asked > 1


def revocations(count: int) -> None:
    """That many old ones, all of the same moment."""
    Revocation.objects.bulk_create([Revocation(user_id="1", at=LONG_AGO) for _ in range(count)])


@pytest.mark.django_db
def test_more_than_a_batch_goes_and_what_is_not_over_stays():
    revocations(2 * BATCH + 1)
    kept = Revocation.objects.create(user_id="1", at=timezone.now())
    assert expiry.clean_up() == 2 * BATCH + 1
    assert list(Revocation.objects.all()) == [kept]


@pytest.mark.parametrize("count", [BATCH - 1, BATCH, BATCH + 1])
@pytest.mark.django_db
def test_a_run_that_is_out_of_time_leaves_the_rest_to_the_next(count: int):
    revocations(count)
    old = Revocation.objects.all()
    assert batches.delete(old, along="at", deadline=AfterOneBatch()) == min(count, BATCH)
    assert expiry.clean_up() == count - min(count, BATCH)


@pytest.mark.django_db
def test_each_kind_of_what_has_expired_goes_by_itself(alice: User):
    Ticket.objects.create(digest="a", user=alice, issued_at=LONG_AGO, expires_at=LONG_AGO)
    Ticket.objects.create(digest="b", user=alice, issued_at=LONG_AGO, expires_at=timezone.now() + timedelta(hours=1))
    assert expiry.clean_up() == 1
    assert Ticket.objects.get().digest == "b"


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_rows_that_another_run_is_deleting_are_passed_over():
    revocations(3)
    with elsewhere() as other:
        first = Revocation.objects.earliest("pk").pk
        OpenTransaction(other, lambda: Revocation.objects.filter(pk=first).delete())
        assert expiry.clean_up() == 2
    assert expiry.clean_up() == 1


def of_long_ago(*users: User) -> None:
    for user in users:
        tell(user, 3)
    Notification.objects.update(at=LONG_AGO)


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_trimming_waits_for_no_stream_that_is_being_written_to(alice: User, bob: User):
    of_long_ago(alice, bob)
    with elsewhere() as other:
        writing = OpenTransaction(other, lambda: stream.append([event(alice)]))
        assert retention.trim() == 3
        writing.commit()
    assert (numbers(alice), numbers(bob)) == ([1, 2, 3, 4], [])
    assert retention.trim() == 3
    assert numbers(alice) == [4]


@pytest.mark.django_db
def test_trimming_goes_through_many_streams(make_users: Callable[[int], list[User]]):
    users = make_users(retention.BATCH // 3 + 1)
    of_long_ago(*users)
    tell(users[-1])
    assert retention.trim() == 3 * len(users)
    assert [numbers(user) for user in users[:2]] == [[], []]
    assert numbers(users[-1]) == [4]
    assert {stream.position(user.pk).trimmed_up_to for user in users} == {3}


@pytest.mark.django_db
def test_trimming_that_is_out_of_time_leaves_no_gap(alice: User):
    with transaction.atomic():
        later = [replace(event(alice), at=LONG_AGO + timedelta(seconds=n)) for n in range(retention.BATCH + 2)]
        stream.append(later)
    assert retention.trim(deadline=AfterOneBatch()) == retention.BATCH
    assert numbers(alice) == [retention.BATCH + 1, retention.BATCH + 2]
    assert stream.position(alice.pk).trimmed_up_to == retention.BATCH


@pytest.fixture
def make_users(db: None) -> Callable[[int], list[User]]:
    def make(count: int) -> list[User]:
        return [User.objects.create(username=f"reader-{number}") for number in range(count)]

    return make
