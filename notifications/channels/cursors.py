"""The cursors of a channel: which are due, who delivers them, and what was delivered. Called by `run`.

A process takes cursors for `LEASE`: their time moves on, and no other process takes them before. What it does then is
noted step by step, each step one short statement that asks whether the cursor is still this process's; no transaction
is open while something is delivered. So a process that dies has noted what it was about: that one delivery is made once
more, all others never again. If that ends in the same way, it counts as made.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from notifications.channels.models import ChannelCursor
from notifications.log.models import Stream

logger = logging.getLogger(__name__)

#: Cursors that a process takes at once.
BATCH = 50
#: How long they are its own: longer than a task may run (Celery's limit is 300 s here), so that none is taken away from
#: a process that lives.
LEASE = timedelta(seconds=360)
#: Seconds until the second attempt; each further one waits twice as long, an hour at most.
FIRST_PAUSE = 60
LONGEST_PAUSE = 3_600
#: Attempts until what fails is given up: about a day.
ATTEMPTS = 28


class Lost(Exception):
    """The cursor is no longer this process's: it was switched off, forgotten, or taken after the lease."""


@dataclass(slots=True)
class Claim:
    """One cursor that this process may deliver, as long as its row has `until` as its time."""

    cursor: ChannelCursor
    until: datetime
    delivered: list[str] = field(default_factory=list)

    def note(self, **columns: Any) -> None:
        """Write columns of the cursor. Raises Lost."""
        mine = ChannelCursor.objects.filter(pk=self.cursor.pk, due_at=self.until)
        if not mine.update(**columns):
            raise Lost
        for name, value in columns.items():
            setattr(self.cursor, name, value)

    def begin(self, about: str) -> None:
        """Say what is delivered next, before it is."""
        self.note(attempting=about)

    def done(self, about: str) -> None:
        self.delivered.append(about)
        self.note(delivered=self.delivered, attempting="", again=False)

    def put_off(self, until: datetime, *, failed: bool = True) -> None:
        """Give it back, to be tried again; what was delivered is kept, and without any everything new is looked at."""
        self.note(
            attempting="",
            again=False,
            failures=self.cursor.failures + failed,
            attempting_up_to=self.cursor.attempting_up_to if self.delivered else None,
            due_at=until,
        )

    @transaction.atomic
    def finish(self, up_to: int, *, wait: timedelta, refused: str | None = None) -> None:
        """Everything up to a number is delivered, or need not be. Raises Lost."""
        # The row first and the head then: `intake` waits for the row, or its news are in the head.
        mine = ChannelCursor.objects.select_for_update(no_key=True).filter(pk=self.cursor.pk, due_at=self.until).first()
        if mine is None:
            raise Lost
        head = Stream.objects.values_list("head", flat=True).get(pk=mine.stream_id)
        self.note(
            sent_up_to=up_to,
            due_at=timezone.now() + wait if head > up_to else None,
            attempting_up_to=None,
            delivered=[],
            attempting="",
            again=False,
            failures=0,
            **({} if refused is None else {"refused": refused}),
        )


def pause(failures: int) -> timedelta:
    """How long to wait after so many failures in a row."""
    return timedelta(seconds=min(FIRST_PAUSE * 2 ** min(failures - 1, 10), LONGEST_PAUSE))


@transaction.atomic
def claim(channel: str) -> list[Claim]:
    """Cursors that are due, for this process alone, longest due first. Nobody is waited for."""
    now = timezone.now()
    due = ChannelCursor.objects.filter(channel=channel, due_at__lte=now).order_by("due_at", "pk")
    found = list(due.select_for_update(skip_locked=True)[:BATCH])
    until = now + LEASE
    ChannelCursor.objects.filter(pk__in=[cursor.pk for cursor in found]).update(due_at=until)
    claims = [Claim(cursor, until, list(cursor.delivered)) for cursor in found]
    for one in claims:
        if one.cursor.attempting:
            _take_over(one)
    return claims


def _take_over(one: Claim) -> None:
    """A process died between delivering and noting it, or before it delivered: nobody knows."""
    cursor = one.cursor
    about = cursor.attempting
    if cursor.again:
        logger.error(
            "%s: a second process died over what was to be delivered about %s; it counts as delivered.", cursor, about
        )
        one.done(about)
    else:
        logger.warning("%s: a process died while it delivered; %s may be delivered a second time.", cursor, about)
        one.note(attempting="", again=True)


def give_back(claims: Collection[Claim]) -> None:
    """Those that this process has not begun."""
    rows = ChannelCursor.objects.filter(pk__in=[one.cursor.pk for one in claims], due_at__in=[c.until for c in claims])
    rows.update(due_at=timezone.now())


def forget_waiting(cursors: QuerySet[ChannelCursor]) -> None:
    """Nothing of before is delivered any more; what comes from now on is."""
    cursors.filter(due_at__isnull=False).update(
        due_at=None, attempting_up_to=None, delivered=[], attempting="", again=False, failures=0
    )
