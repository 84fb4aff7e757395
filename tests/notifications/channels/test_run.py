"""What was not seen is delivered, once, whatever fails in between; what was seen is not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from notifications.batches import Deadline
from notifications.channels import cursors, intake, run, unsubscribe
from notifications.channels.channel import Failed, Refused, Unavailable
from notifications.channels.models import ChannelCursor, ChannelMark
from notifications.log import stream
from notifications.log.models import Notification
from notifications.personal import forgetting
from tests.database import OpenTransaction, elsewhere, on_postgres, together
from tests.notifications.channels.conftest import Kept, deliver_later, later
from tests.notifications.conftest import event, tell

pytestmark = pytest.mark.django_db(transaction=True)


class Killed(BaseException):
    """What no code of ours catches: the process ends here."""


def kill(_: Any) -> None:
    raise Killed


def cursor() -> ChannelCursor:
    return ChannelCursor.objects.get()


def test_what_nobody_has_seen_is_delivered_once(kept: Kept, alice: User, bob: User):
    tell(alice, note="A")
    tell(bob, note="B")
    assert deliver_later() == 2
    assert deliver_later() == 0
    assert sorted(kept.told) == [("A", [1]), ("B", [1])]


def test_it_waits_for_as_long_as_the_channel_says(kept: Kept, alice: User):
    tell(alice, note="A")
    before = timezone.now()
    assert run.deliver() == 0
    due_at = cursor().due_at
    assert due_at is not None
    assert before + timedelta(minutes=15) <= due_at <= timezone.now() + timedelta(minutes=15)


def test_what_was_seen_meanwhile_is_not_delivered(kept: Kept, alice: User):
    tell(alice, 2, note="A")
    tell(alice, note="B")
    run.deliver()
    stream.mark_read(alice.pk, 2)
    later()
    run.deliver()
    assert kept.told == [("B", [3])]


def test_what_is_seen_while_others_are_delivered_is_not(kept: Kept, alice: User):
    tell(alice, note="A")
    tell(alice, note="B")
    kept.does = lambda _: stream.mark_read(alice.pk, 2)
    deliver_later()
    assert kept.told == [("A", [1])]


def test_a_channel_may_deliver_what_was_seen_too(kept: Kept, alice: User):
    kept.unseen_only = False
    tell(alice, note="A")
    stream.mark_read(alice.pk, 1)
    deliver_later()
    assert kept.told == [("A", [1])]


def test_news_of_one_thing_are_one_delivery_and_what_follows_is_the_next(kept: Kept, alice: User):
    for note in "ABA":
        tell(alice, note=note)
    deliver_later()
    tell(alice, note="A")
    deliver_later()
    assert kept.told == [("A", [1, 3]), ("B", [2]), ("A", [4])]
    assert len({delivery.key for delivery in kept.delivered}) == 3


def test_what_comes_while_a_stream_is_delivered_is_not_forgotten(kept: Kept, alice: User):
    tell(alice, note="A")
    kept.does = lambda delivery: tell(alice, note="B") if delivery.about == "A" else None
    deliver_later()
    later()
    run.deliver()
    assert kept.told == [("A", [1]), ("B", [2])]


@pytest.mark.parametrize("wait", [None, timedelta(minutes=1)])
def test_a_channel_begins_at_now(kept: Kept, alice: User, bob: User, wait: timedelta | None):
    """Also when it was off for a while: then nothing of that while is news."""
    tell(alice, note="old")
    run.deliver()
    tell(alice, note="old")
    tell(bob, note="old")
    ChannelMark.objects.update(looked_at=timezone.now() - intake.ASLEEP)
    kept.wait = wait
    run.deliver()
    kept.wait = timedelta(minutes=1)
    deliver_later()
    tell(alice, note="new")
    deliver_later()
    assert kept.told == [("new", [3])]


def test_a_channel_that_is_off_looks_at_nothing(kept: Kept, alice: User):
    kept.wait = None
    tell(alice, note="A")
    assert deliver_later() == 0
    assert not ChannelCursor.objects.exists()


def test_what_is_about_nothing_and_who_is_nowhere_is_passed_over(kept: Kept, alice: User, bob: User):
    kept.addresses[bob.pk] = ""
    tell(alice)
    tell(bob, note="B")
    assert deliver_later() == 0
    assert set(ChannelCursor.objects.values_list("sent_up_to", "due_at")) == {(1, None)}


def test_a_batch_is_a_bound_and_no_limit(kept: Kept, alice: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intake, "BATCH", 2)
    monkeypatch.setattr(cursors, "BATCH", 2)
    users = [User.objects.create_user(f"user{number}") for number in range(5)]
    for user in users:
        tell(user, note="A")
    assert deliver_later() == 5


def test_what_is_out_of_time_is_left_to_the_next_run(kept: Kept, alice: User, bob: User):
    tell(alice, note="A")
    run.deliver()
    later()
    assert run.deliver(deadline=Deadline(0)) == 0
    assert run.deliver() == 1


@on_postgres
def test_a_transaction_that_commits_late_is_not_missed(kept: Kept, alice: User, bob: User):
    with elsewhere() as other:
        late = OpenTransaction(other, lambda: stream.append([event(alice, "late")]))
        tell(bob, note="B")
        assert deliver_later() == 1, "nobody else waits for it"
        run.deliver()
        assert not ChannelCursor.objects.filter(due_at__isnull=False).exists(), "looked at again, and nothing new"
        late.commit()
    deliver_later()
    assert sorted(kept.told) == [("B", [1]), ("late", [1])]


@on_postgres
def test_a_transaction_that_began_first_and_came_second_hides_nothing(
    kept: Kept, alice: User, monkeypatch: pytest.MonkeyPatch
):
    """Its number is the lower one, and the first batch ends there."""
    monkeypatch.setattr(intake, "BATCH", 1)
    with elsewhere() as other, transaction.atomic():
        with transaction.atomic():
            User.objects.filter(pk=alice.pk).update(first_name="Alice")  # this transaction has its number now
        other.do(lambda: tell(alice, note="A"))
        stream.append([event(alice, "B")])
    seqs = list(Notification.objects.order_by("tx").values_list("seq", flat=True))
    assert seqs == [2, 1]
    deliver_later()
    assert kept.told == [("A", [1]), ("B", [2])]


# In several places at once.


def test_two_runs_at_once_deliver_each_once(kept: Kept, alice: User):
    for number in range(20):
        tell(User.objects.create_user(f"user{number}"), note="A")
    run.deliver()
    later()
    together(run.deliver, run.deliver)
    run.deliver()
    assert sorted(delivery.user_id for delivery in kept.delivered) == sorted(
        {delivery.user_id for delivery in kept.delivered}
    )
    assert len(kept.delivered) == 20


def test_a_cursor_that_was_taken_away_is_let_go(kept: Kept, alice: User):
    tell(alice, note="A")
    tell(alice, note="B")
    kept.does = lambda _: ChannelCursor.objects.update(due_at=timezone.now() + timedelta(hours=1))
    deliver_later()
    assert kept.told == [("A", [1])]


# What fails.


def test_a_process_that_dies_sends_once_more_at_most_and_it_is_said(
    kept: Kept, alice: User, caplog: pytest.LogCaptureFixture
):
    for note in "ABC":
        tell(alice, note=note)
    kept.does = lambda delivery: kill(delivery) if delivery.about == "B" else None
    for _ in range(2):
        with pytest.raises(Killed):
            deliver_later()
    assert run.deliver() == 0, "nobody takes it before the lease ends"
    deliver_later()
    deliver_later()
    assert [about for about, _ in kept.told] == ["A", "B", "B", "C"]
    assert kept.delivered[1].key == kept.delivered[2].key
    said = [record.levelname for record in caplog.records if "died" in record.message]
    assert said == ["WARNING", "ERROR"]
    assert cursor().sent_up_to == 3


def test_what_fails_is_tried_again_alone_later_and_later(kept: Kept, alice: User):
    for note in "AB":
        tell(alice, note=note)

    def fail(_: Any) -> None:
        raise Failed("450")

    kept.does = lambda delivery: fail(delivery) if delivery.about == "B" else None
    pauses = []
    for _ in range(3):
        before = timezone.now()
        deliver_later()
        due_at = cursor().due_at
        assert due_at is not None
        pauses.append(round((due_at - before).total_seconds() / 60))
    assert pauses == [1, 2, 4]
    kept.does = lambda _: None
    deliver_later()
    assert [about for about, _ in kept.told] == ["A", "B", "B", "B", "B"]
    assert (cursor().due_at, cursor().failures, cursor().delivered) == (None, 0, [])


@pytest.mark.parametrize("error", [Failed("450"), ValueError("a template")])
def test_what_fails_for_a_day_is_given_up_and_the_rest_goes_on(
    kept: Kept, alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
):
    monkeypatch.setattr(cursors, "ATTEMPTS", 3)
    for note in "AB":
        tell(alice, note=note)

    def fail(delivery: Any) -> None:
        if delivery.about == "A":
            raise error

    kept.does = fail
    for _ in range(5):
        deliver_later()
    assert [about for about, _ in kept.told] == ["A", "A", "A", "B"]
    assert "given up" in caplog.text
    assert cursor().due_at is None


def test_while_the_way_is_closed_everything_waits_and_nothing_is_lost(
    kept: Kept, alice: User, bob: User, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cursors, "ATTEMPTS", 2)

    def closed(_: Any) -> None:
        raise Unavailable("no route")

    kept.does = closed
    tell(alice, note="A")
    tell(bob, note="B")
    deliver_later()
    assert len(kept.delivered) == 1, "the second one is not tried"
    assert run.deliver() == 0
    assert len(kept.delivered) == 1, "nobody is tried while the channel rests"
    assert "no route" in caplog.text
    for _ in range(3):
        deliver_later()
    kept.does = lambda _: None
    kept.delivered.clear()
    deliver_later()
    assert sorted(kept.told) == [("A", [1]), ("B", [1])]
    assert ChannelMark.objects.get().failures == 0


def test_an_address_that_is_refused_gets_nothing_more_and_another_one_does(kept: Kept, alice: User):
    def refuse(_: Any) -> None:
        raise Refused("550")

    kept.does = refuse
    kept.addresses[alice.pk] = "old"
    for note in "AB":
        tell(alice, note=note)
    deliver_later()
    assert cursor().refused == "old"
    kept.does = lambda _: None
    tell(alice, note="C")
    deliver_later()
    assert kept.told == [("A", [1])]
    kept.addresses[alice.pk] = "new"
    tell(alice, note="D")
    deliver_later()
    assert kept.told == [("A", [1]), ("D", [4])]


def test_a_pause_has_an_end():
    assert cursors.pause(1_000_000) == timedelta(hours=1)


# What ends it.


def test_who_says_no_gets_nothing_not_even_what_waits(kept: Kept, alice: User):
    tell(alice, note="A")
    run.deliver()
    unsubscribe.switch("kept", alice.pk, off=True)
    deliver_later()
    tell(alice, note="B")
    deliver_later()
    unsubscribe.switch("kept", alice.pk, off=False)
    tell(alice, note="C")
    deliver_later()
    assert kept.told == [("C", [3])]


@pytest.mark.parametrize("end", [forgetting.forget, lambda user: user.delete()])
def test_who_is_gone_gets_nothing(kept: Kept, alice: User, end: Callable[[User], object]):
    tell(alice, note="A")
    run.deliver()
    end(alice)
    assert not ChannelCursor.objects.exists()
    assert deliver_later() == 0


@pytest.mark.parametrize(
    "after",
    [stream.restart_all, lambda: ChannelMark.objects.update(tx=2**62)],
    ids=["restart_streams was run", "the numbers of the other cluster were higher"],
)
def test_after_a_restored_backup_nothing_of_before_is_delivered(kept: Kept, alice: User, after: Callable[[], object]):
    tell(alice, note="A")
    run.deliver()
    after()
    deliver_later()
    tell(alice, note="B")
    deliver_later()
    assert kept.told == [("B", [2])]


def test_each_message_says_which_channel_and_stream(kept: Kept, alice: User, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    tell(alice, note="A")
    kept.does = lambda delivery: 1 / 0
    deliver_later()
    assert f"kept of {alice.pk}" in caplog.text
