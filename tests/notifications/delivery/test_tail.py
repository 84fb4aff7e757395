"""The tail check: what has changed since a mark, nothing missed that commits late, nothing looked at for ever."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from notifications.delivery import tail
from notifications.log import retention, stream
from notifications.models import Notification, Stream
from tests.database import OpenTransaction, elsewhere, on_postgres
from tests.notifications.conftest import event, tell, tell_one_by_one
from tests.polling import poll

STREAM, LOG = Stream._meta.db_table, Notification._meta.db_table


def heads_since(mark: tail.Mark) -> tuple[dict[str, int], tail.Mark]:
    changes = tail.changes_since(mark)
    return changes.heads, changes.mark


@pytest.mark.django_db(transaction=True)
def test_changes_are_the_heads_that_moved_since_the_mark(alice: User, bob: User):
    tell(alice, 2)
    mark = tail.changes_since(None).mark
    tell(bob, 3)
    tell(bob)
    heads, mark = heads_since(mark)
    assert heads[str(bob.pk)] == 4
    tell(alice)
    heads, _ = heads_since(mark)
    assert heads[str(alice.pk)] == 3


def test_a_first_mark_tells_of_no_heads(alice: User):
    tell(alice)
    assert tail.changes_since(None).heads == {}


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_commits_late_is_not_missed(alice: User, bob: User):
    mark = tail.changes_since(None).mark
    with elsewhere() as other:
        late = OpenTransaction(other, lambda: stream.append([event(alice)]))
        tell(bob)
        heads, mark = heads_since(mark)
        assert heads == {str(bob.pk): 1}
        tell(bob)
        heads, mark = heads_since(mark)
        assert heads == {str(bob.pk): 2}
        late.commit()
    heads, mark = heads_since(mark)
    assert heads[str(alice.pk)] == 1


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_when_nothing_runs_nothing_is_looked_at_twice(alice: User):
    mark = tail.changes_since(None).mark
    tell(alice)
    heads, mark = heads_since(mark)
    assert heads == {str(alice.pk): 1}

    def nothing_is_found() -> bool:
        nonlocal mark
        heads, mark = heads_since(mark)
        return heads == {}

    # Any transaction of the cluster, of other databases and of PostgreSQL itself, holds the mark back until it ends.
    poll(nothing_is_found)


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_rows_that_another_cluster_numbered_are_not_looked_at_for_ever(alice: User, bob: User):
    # A dump keeps the numbers of the cluster that it was taken from, and a new one begins again near 700.
    tell(alice)
    Notification.objects.update(tx=2**40)
    mark = tail.changes_since(None).mark
    tell(bob)
    assert heads_since(mark)[0] == {str(bob.pk): 1}


# What is gone.


@pytest.mark.django_db(transaction=True)
def test_a_mark_outlives_the_user_with_the_newest_notifications(alice: User, bob: User):
    tell(bob)
    tell_one_by_one(alice, 3)
    mark = tail.changes_since(None).mark
    alice.delete()
    tell(bob)
    assert heads_since(mark)[0] == {str(bob.pk): 2}


@pytest.mark.django_db(transaction=True)
def test_a_mark_outlives_the_trimming_of_everything(alice: User, bob: User):
    tell(alice, 3)
    mark = tail.changes_since(None).mark
    retention.trim(timezone.now() + timedelta(days=1))
    tell(bob)
    assert heads_since(mark)[0][str(bob.pk)] == 1
