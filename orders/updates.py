"""What one update makes of one order, in memory: the lifecycle is asked, or its rule for news that come late.

Called by `services` for one order and by `bulk` for many, which hold the lock of the row and write what comes of it.
Nothing is written here. The history is read for late news only, and only through what the caller hands in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from orders import lifecycle
from orders.history import MAX_LOOKED_AT, Change, StatusChange, put_in_order
from orders.lifecycle import Step, Verdict, is_legal
from orders.models import Order

#: How far another system's clock may run ahead of ours. Beyond it an update is refused: a status dated tomorrow would
#: make every true update until then a late one.
CLOCK_SKEW = timedelta(minutes=5)
#: What a parcel is found by. Late news of it are better than none.
OF_SHIPMENT = frozenset({"carrier", "tracking_number", "tracking_url", "estimated_delivery"})


class OrderError(Exception):
    """A rule of the business refuses the change; `code` names the rule to machines, the text to people."""

    code = "order_error"


class IllegalTransition(OrderError):
    """The lifecycle has no such step; `allowed` lists those it has."""

    code = "illegal_transition"

    def __init__(self, *, status: str, to: str) -> None:
        self.allowed = lifecycle.allowed(status)
        super().__init__(f"An order that is {status} cannot become {to}.")


class NoteRequired(OrderError):
    """A step outside the lifecycle needs a note that says why."""

    code = "note_required"


class OccurredInFuture(OrderError):
    """`occurred_at` lies further ahead than clocks differ."""

    code = "occurred_in_future"


@dataclass(frozen=True, slots=True)
class Update:
    """The status `to` of an order, and what is known of it; other `fields` come along.

    Without `occurred_at` it happens now. `note` is shown to the customer, who is not told without `notify`.
    """

    to: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    actor: Any = None
    occurred_at: datetime | None = None
    note: str = ""
    notify: bool = True


@dataclass(frozen=True, slots=True)
class Effect:
    """What an update has made of the order in memory.

    `entry` is new in the history, None for news that were known. `corrected` entries are in the history, and count no
    longer, or now. `ignored` names fields that were not applied.
    """

    entry: StatusChange | None
    applied: bool
    moved: bool
    ignored: tuple[str, ...] = ()
    corrected: tuple[StatusChange, ...] = ()


def carry_out(
    order: Order, update: Update, *, history: Callable[[], list[StatusChange]], now: datetime | None = None
) -> Effect:
    """Change the order in memory. `history` gives the entries of the order, in the order in which they came, and gets
    the new one if the news are late.

    Raises `IllegalTransition`, `NoteRequired`, `OccurredInFuture`.
    """
    now = now or timezone.now()
    happened_at = happened(update.occurred_at, now=now, newest=order.news_at, since=order.status_since)
    change = Change(actor=update.actor, note=update.note, notify=update.notify, occurred_at=happened_at)
    if is_late(update.occurred_at, happened_at, newest=order.news_at):
        return _late(order, update, change, history(), happened_at)
    was, moves = order.status, update.to != order.status
    if moves:
        check_step(was, update.to, actor=update.actor, note=update.note)
        order.status, order.status_since = update.to, happened_at
    order.news_at = happened_at
    _set(order, update.fields)
    entry = change.entry(order, from_status=was, to_status=update.to, applied=moves)
    return Effect(entry, applied=moves, moved=moves)


def happened(occurred_at: datetime | None, *, now: datetime, newest: datetime | None, since: datetime) -> datetime:
    """When an update happened: at the time that its sender gives, otherwise now. The sender's clock may be ahead.

    Now never lies before what has happened already: the clocks of two of our processes may differ.
    """
    if occurred_at is None:
        return max(now, newest or now, since)
    if occurred_at > now + CLOCK_SKEW:
        raise OccurredInFuture("occurred_at lies in the future.")
    return min(occurred_at, now)


def is_late(occurred_at: datetime | None, happened_at: datetime, *, newest: datetime | None) -> bool:
    """Whether the history has to say what the update is: it is not newer than everything that is known."""
    return occurred_at is not None and newest is not None and happened_at <= newest


def check_step(status: str, to: str, *, actor: Any, note: str) -> None:
    """Ask the lifecycle. An actor with `orders.override_status` may take any step, with a note that says why."""
    if is_legal(status, to):
        return
    if actor is None or not actor.has_perm("orders.override_status"):
        raise IllegalTransition(status=status, to=to)
    if not note:
        raise NoteRequired(f"A step from {status} to {to} needs a note that says why.")


def _late(order: Order, update: Update, change: Change, history: list[StatusChange], happened_at: datetime) -> Effect:
    was = order.status
    new = Step(update.to, happened_at)
    steps = _steps(history)
    reading = lifecycle.read(steps, new)
    if reading.verdict is Verdict.KNOWN:
        known = next(one for one in history if one.to_status == update.to and one.occurred_at == happened_at)
        lost = ("note",) if update.note and update.note != known.note else ()
        last = history[reading.story[-1]]
        ignored = _set(order, update.fields) if last is known else _fill(order, update.fields)
        return Effect(None, applied=False, moved=False, ignored=(*lost, *ignored))

    entry = change.entry(order, from_status=was, to_status=update.to, applied=False)
    history.append(entry)
    if lifecycle.end_of(steps) != was:
        # Raw SQL has changed the status, and `manage.py reconcile` has not recorded it yet: the end is not known.
        return Effect(entry, applied=False, moved=False, ignored=_fill(order, update.fields))
    corrected = put_in_order(history, reading.story)
    order.status, order.status_since = reading.status, reading.since
    last = history[reading.story[-1]]
    ignored = _set(order, update.fields) if last is entry else _fill(order, update.fields)
    moved = reading.status != was
    entry.notify = moved and update.notify
    return Effect(entry, applied=entry.applied, moved=moved, ignored=ignored, corrected=tuple(corrected))


def _steps(history: Sequence[StatusChange]) -> list[Step]:
    # Of a history without end the newest part is looked at. It begins somewhere.
    beginning = min(history, key=lambda entry: entry.occurred_at) if len(history) >= MAX_LOOKED_AT else None
    return [
        Step(
            entry.to_status,
            entry.occurred_at,
            counts=entry.applied or entry is beginning,
            forced=entry.applied and bool(entry.from_status) and not is_legal(entry.from_status, entry.to_status),
            dated=entry.dated,
        )
        for entry in history
    ]


def _set(order: Order, fields: Mapping[str, Any]) -> tuple[str, ...]:
    for name, value in fields.items():
        setattr(order, name, value)
    return ()


def _fill(order: Order, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Late news of the shipment fill what is empty. Gives the names of the fields that were not applied."""
    ignored = []
    for name, value in fields.items():
        if name in OF_SHIPMENT and getattr(order, name) in ("", None):
            setattr(order, name, value)
        elif getattr(order, name) != value:
            ignored.append(name)
    return tuple(ignored)
