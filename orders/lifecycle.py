"""The lifecycle of an order: a pure table of legal steps, and the rule for news that come late.

Called by `updates` before a status is written, and by pages that show the next steps. It reads nothing and writes
nothing. To add a status: add it to `Status`, give it a row in `STEPS`, and make a migration (the database checks the
column against `Status` too).

**News that come late.** `read` puts them where they belong by the time at which they happened. The steps that count, in
the order in which they happened, are the order's *story*: each one is legal after the one before it, or repeats it.
`docs/api.md` has the rule as a table of cases, and `tests/orders/test_story.py` has them as tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import pairwise

from django.db import models


class Status(models.TextChoices):
    """The field's common words: schema.org OrderStatus, WooCommerce, Shopify; parcels as carriers name them."""

    PENDING = "pending"
    PROCESSING = "processing"
    ON_HOLD = "on_hold"
    SHIPPED = "shipped"
    OUT_FOR_DELIVERY = "out_for_delivery"
    READY_FOR_PICKUP = "ready_for_pickup"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    RETURNED = "returned"


#: From each status, the statuses that may follow. Forward steps may be skipped, because carriers skip scans.
STEPS: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset(
        {
            Status.PROCESSING,
            Status.ON_HOLD,
            Status.SHIPPED,
            Status.OUT_FOR_DELIVERY,
            Status.DELIVERED,
            Status.CANCELLED,
        }
    ),
    Status.PROCESSING: frozenset(
        {
            Status.ON_HOLD,
            Status.SHIPPED,
            Status.OUT_FOR_DELIVERY,
            Status.READY_FOR_PICKUP,
            Status.DELIVERED,
            Status.CANCELLED,
        }
    ),
    Status.ON_HOLD: frozenset({Status.PENDING, Status.PROCESSING, Status.CANCELLED}),
    Status.SHIPPED: frozenset({Status.OUT_FOR_DELIVERY, Status.READY_FOR_PICKUP, Status.DELIVERED, Status.RETURNED}),
    # Back to shipped is a failed delivery attempt: the parcel returns to the depot.
    Status.OUT_FOR_DELIVERY: frozenset({Status.SHIPPED, Status.READY_FOR_PICKUP, Status.DELIVERED, Status.RETURNED}),
    # A parcel that nobody collects is cancelled (it never left the shop) or returned (a carrier holds it).
    Status.READY_FOR_PICKUP: frozenset({Status.DELIVERED, Status.CANCELLED, Status.RETURNED}),
    Status.DELIVERED: frozenset({Status.RETURNED}),
    Status.CANCELLED: frozenset(),
    Status.RETURNED: frozenset(),
}

#: Statuses that nothing follows.
FINAL = frozenset(status for status, following in STEPS.items() if not following)

#: Statuses after which the customer waits for nothing more. A delivered order may still be returned.
CLOSED = FINAL | {Status.DELIVERED}

#: Statuses in which an order can be late. One that is ready to be collected waits for the customer.
AWAITED = frozenset(Status) - CLOSED - {Status.READY_FOR_PICKUP}


def allowed(status: str) -> list[str]:
    """The statuses that may follow `status`, in the order of `Status`, as plain strings."""
    following = STEPS[Status(status)]
    return [candidate.value for candidate in Status if candidate in following]


def is_legal(status: str, to: str) -> bool:
    """Whether an order may go from `status` to `to`."""
    return Status(to) in STEPS[Status(status)]


#: From the beginning to the end, for two statuses of which the table does not say which one comes first: a parcel that
#: moves was not cancelled, and an order that was delivered is not on hold.
ALONG = (
    Status.PENDING,
    Status.ON_HOLD,
    Status.PROCESSING,
    Status.CANCELLED,
    Status.SHIPPED,
    Status.OUT_FOR_DELIVERY,
    Status.READY_FOR_PICKUP,
    Status.DELIVERED,
    Status.RETURNED,
)


def is_further(status: str, than: str) -> bool:
    """Whether `status` is further along the lifecycle: the table leads to it, or it stands later in the row."""
    return is_legal(than, status) or ALONG.index(Status(status)) > ALONG.index(Status(than))


class Verdict(Enum):
    """What a late piece of news is for the story of its order."""

    #: It is a step of the story, perhaps its last.
    APPLIED = "applied"
    #: It fits, and says what the step before it said.
    REPEATED = "repeated"
    #: The story ends further along without it.
    LATE = "late"
    #: The same status of the same moment is known.
    KNOWN = "known"


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of news of an order: a status, and when the order got it."""

    status: str
    at: datetime
    #: Whether it moves the order, as far as is known. What repeats the step before it need not say so.
    counts: bool = True
    #: Whether somebody took it against the table: it may follow any status.
    forced: bool = False
    #: False for a beginning whose time nobody told: it is before all.
    dated: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """The story with a new piece of news: `story` has the indices of its steps, the new one being the last index."""

    verdict: Verdict
    story: tuple[int, ...]
    #: What the order is at the end of the story, and the time of the step that made it so.
    status: str
    since: datetime


def read(known: Sequence[Step], new: Step) -> Reading:
    """Where `new` belongs among what is `known`, at least one step, in the order in which it came.

    If everything is legal with `new` at its place, that is the story. Otherwise there are two readings, with it or
    without it, and the one that ends further along is taken; without it, if both end alike. Steps that were left out of
    the story before return to it if they fit now. News of one moment happened in the order in which they came.
    """
    steps = [*known, new]
    own = len(known)
    order = _as_it_happened(steps)
    story = _story([index for index in order if index != own], steps)
    if any(step.status == new.status and step.dated and step.at == new.at for step in known):
        return _reading(Verdict.KNOWN, story, steps)

    rank = {index: place for place, index in enumerate(order)}
    before = [index for index in story if rank[index] < rank[own]]
    after = story[len(before) :]
    if _fits(before, own, after, steps):
        story = [*before, own, *after]
    elif (
        _is_legal_after(before, own, after, steps)
        # Otherwise something later can follow it, and both readings end alike.
        and not any(_follows(steps[index], new) for index in after)
        and is_further(new.status, steps[after[-1]].status)
    ):
        story = [*before, own]
    story = _with_all_that_fit(story, rank, steps)
    if own not in story:
        return _reading(Verdict.LATE, story, steps)
    repeats = any(other == own and steps[one].status == new.status for one, other in pairwise(story))
    return _reading(Verdict.REPEATED if repeats else Verdict.APPLIED, story, steps)


def end_of(known: Sequence[Step]) -> str:
    """The status at the end of the story of what is known."""
    return known[_story(_as_it_happened(known), known)[-1]].status


def _as_it_happened(steps: Sequence[Step]) -> list[int]:
    return sorted(range(len(steps)), key=lambda index: (steps[index].dated, steps[index].at, index))


def _story(order: Sequence[int], steps: Sequence[Step]) -> list[int]:
    """The steps that count, and those that repeat the one before them."""
    story: list[int] = []
    for index in order:
        if steps[index].counts or (story and steps[index].status == steps[story[-1]].status):
            story.append(index)
    return story


def _with_all_that_fit(story: list[int], rank: Mapping[int, int], steps: Sequence[Step]) -> list[int]:
    """The story, with each step that can be put into it; one that returns may make room for another."""
    left_out = [index for index in rank if index not in story]
    returned = True
    while returned:
        returned = False
        for index in left_out:
            before = [one for one in story if rank[one] < rank[index]]
            after = story[len(before) :]
            if _fits(before, index, after, steps):
                story, returned = [*before, index, *after], True
                left_out.remove(index)
                break
    return story


def _fits(before: Sequence[int], index: int, after: Sequence[int], steps: Sequence[Step]) -> bool:
    """Whether a step is legal at its place, and the one after it stays legal."""
    return _is_legal_after(before, index, after, steps) and (not after or _follows(steps[after[0]], steps[index]))


def _is_legal_after(before: Sequence[int], index: int, after: Sequence[int], steps: Sequence[Step]) -> bool:
    if before:
        return _follows(steps[index], steps[before[-1]])
    # Nothing happens before an order is placed. One that came to us later may have been on its way already.
    return steps[after[0]].status != Status.PENDING


def _follows(step: Step, before: Step) -> bool:
    return step.forced or step.status == before.status or is_legal(before.status, step.status)


def _reading(verdict: Verdict, story: Sequence[int], steps: Sequence[Step]) -> Reading:
    made = len(story) - 1
    while made and steps[story[made - 1]].status == steps[story[made]].status:
        made -= 1
    return Reading(verdict, tuple(story), steps[story[-1]].status, steps[story[made]].at)
