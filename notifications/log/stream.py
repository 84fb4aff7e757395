"""The stream: append, read after a position, heads. The truth of which every push is only a hint.

`append` runs in the transaction of the change that it tells of, so both commit or neither does. Numbering locks the
user's stream row until that commit: numbers are therefore gapless and in commit order, and a reader that has seen
number n will never see n-1 appear later. Reading is for `hub` and the HTTP API. Nothing else touches these tables.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import BigIntegerField
from django.db.models.expressions import RawSQL
from django.dispatch import Signal

from notifications import protocol, users
from notifications.hints import publish
from notifications.log.models import Notification, Stream, Writes, new_stream_id
from notifications.protocol import Entry, Reset
from notifications.users import UserKey

#: How many notifications of one stream are read at a time: a page of some 100 KiB, written to a socket in a moment.
PAGE = 200
#: Characters of the frames of one page: up to four bytes each, of the 16 MiB that an answer may have.
PAGE_CHARACTERS = 1_500_000
#: How many streams one statement names: SQLite takes 32,766 parameters and an expression depth of 1,000.
STREAMS_PER_QUERY = 250
#: From so many events on `_insert` is cheaper than Django's own way.
MANY = 5

#: Sent by `restart_all`, for an application that has given out positions of its own.
restarted = Signal()


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell one user; it gets its number when it is appended."""

    user_id: UserKey
    #: A word of the application's own, up to 32 characters.
    kind: str
    at: datetime
    #: Ready for JSON; its fields stand in the frame beside `type`, `seq`, `kind` and `at`.
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a stream stands: what a handshake and a snapshot have to know."""

    uid: str
    head: int
    read_up_to: int
    trimmed_up_to: int

    @property
    def unread(self) -> int:
        """What can still be read: what was trimmed is gone, read or not."""
        return self.head - max(self.read_up_to, self.trimmed_up_to)


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries of one stream; `reset` says why the number that they were asked for after cannot be gone on from."""

    position: Position
    entries: list[Entry]
    reset: Reset | None


def append(events: Sequence[Event]) -> None:
    """Number the events and write them down; publish them once this transaction has committed.

    Raises `TransactionManagementError` outside a transaction: the change and its notification must commit together.
    """
    if not events:
        return
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("stream.append() belongs into the transaction of the change.")
    by_user: dict[UserKey, list[Event]] = defaultdict(list)
    for event in events:
        by_user[users.key(event.user_id)].append(event)
    advanced = _advance({user_id: len(theirs) for user_id, theirs in by_user.items()})
    tx = _transaction_number()
    entries: dict[UserKey, list[Entry]] = {}
    rows = []
    for user_id, (head, _) in advanced.items():
        theirs = by_user[user_id]
        entries[user_id] = []
        for seq, event in enumerate(theirs, start=head - len(theirs) + 1):
            frame = protocol.notification(seq=seq, kind=event.kind, at=event.at, body=event.body)
            entries[user_id].append(Entry(seq, frame))
            rows.append(
                Notification(
                    stream_id=user_id,
                    seq=seq,
                    kind=event.kind,
                    at=event.at,
                    frame=frame,
                    tx=tx,
                )
            )
    _insert(rows)
    for user_id, (_, uid) in advanced.items():
        publish.on_commit(publish.Appended(user_id, uid, entries[user_id]))


def _insert(rows: Sequence[Notification]) -> None:
    """Many rows as one parameter: prepared and quoted one by one, values that are JSON cost more than all the rest."""
    if connection.vendor != "postgresql" or len(rows) < MANY:
        Notification.objects.bulk_create(rows)
        return
    values = [[row.stream_id, row.seq, row.kind, row.at.isoformat(), row.frame] for row in rows]
    key_type = Notification._meta.get_field("stream").db_type(connection)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {Notification._meta.db_table} (stream_id, seq, kind, at, frame, tx) "  # noqa: S608 # nosec B608
            f"SELECT (one ->> 0)::{key_type}, (one ->> 1)::bigint, one ->> 2, (one ->> 3)::timestamptz, one ->> 4, "
            "pg_current_xact_id()::text::bigint FROM json_array_elements(%s::json) AS rows(one)",
            [json.dumps(values, ensure_ascii=False, default=str)],
        )


def _advance(counts: Mapping[UserKey, int]) -> dict[UserKey, tuple[int, str]]:
    """Move each user's head by a count; gives the new head and the stream's id.

    One statement on PostgreSQL and on SQLite. Its row locks are taken by rising keys, so that two batches cannot wait
    for each other, and last until the commit.
    """
    table = connection.ops.quote_name(Stream._meta.db_table)
    advanced: dict[UserKey, tuple[int, str]] = {}
    keys = sorted(counts)
    for start in range(0, len(keys), STREAMS_PER_QUERY):
        some = keys[start : start + STREAMS_PER_QUERY]
        values = ", ".join(["(%s, %s, %s, 0, 0)"] * len(some))
        parameters = [value for key in some for value in (users.column(key), new_stream_id(), counts[key])]
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} (user_id, uid, head, read_up_to, trimmed_up_to) VALUES {values} "  # noqa: S608 # nosec B608
                f"ON CONFLICT (user_id) DO UPDATE SET head = {table}.head + excluded.head "
                "RETURNING user_id, head, uid",
                parameters,
            )
            advanced |= {users.key(user_id): (head, uid) for user_id, head, uid in cursor.fetchall()}
    return advanced


def position(user_id: UserKey) -> Position:
    """Where the user's stream stands now; a user who has none yet gets an empty one, so that its id can be named."""
    return positions([user_id])[user_id]


def uid_of(user_id: UserKey) -> str | None:
    """The id of the user's stream; None for a user who has none."""
    return Stream.objects.filter(user_id=user_id).values_list("uid", flat=True).first()


def find(user_id: UserKey) -> Position | None:
    """Where the user's stream stands now, if there is one. Writes nothing, as `position` may."""
    return _positions([user_id]).get(user_id)


def positions(user_ids: Collection[UserKey]) -> dict[UserKey, Position]:
    """`position` of many users in one query. Users who are gone are left out, and spoil nothing for the others."""
    found = _positions(user_ids)
    if missing := sorted(set(user_ids) - found.keys()):
        missing = list(get_user_model().objects.filter(pk__in=missing).order_by("pk").values_list("pk", flat=True))
        # Two first handshakes of one user may meet here: the constraint lets one of them in.
        Stream.objects.bulk_create([Stream(user_id=user_id) for user_id in missing], ignore_conflicts=True)
        found |= _positions(missing)
    return found


def _positions(user_ids: Collection[UserKey]) -> dict[UserKey, Position]:
    if not user_ids:
        return {}
    # By hand: each handshake asks this, and the ORM takes as long to write it as all the rest of the question takes.
    table = connection.ops.quote_name(Stream._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT user_id, uid, head, read_up_to, trimmed_up_to FROM {table} "  # noqa: S608 # nosec B608
            f"WHERE user_id IN ({', '.join(['%s'] * len(user_ids))})",
            [users.column(user_id) for user_id in user_ids],
        )
        return {users.key(user_id): Position(*rest) for user_id, *rest in cursor.fetchall()}


def read_after(after: Mapping[UserKey, int], *, limit: int = PAGE) -> dict[UserKey, list[Entry]]:
    """The next entries of many streams, `{user_id: [Entry, ...]}`, up to `limit` for each, after the numbers given.

    Numbers have no gaps, so a range of numbers is a page: one indexed range for each stream, many in one query.
    """
    entries: dict[UserKey, list[Entry]] = {user_id: [] for user_id in after}
    keys = sorted(after)
    for start in range(0, len(keys), STREAMS_PER_QUERY):
        some = keys[start : start + STREAMS_PER_QUERY]
        # By hand: of all those ranges the ORM makes a tree of conditions, which takes it longer than PostgreSQL to read
        # what they bring, and when all browsers come back there are thousands.
        with connection.cursor() as cursor:
            cursor.execute(
                f"WITH wanted (stream, after) AS (VALUES {', '.join(['(%s, %s)'] * len(some))}) "  # nosec B608
                f"{_pages()} ORDER BY stream, seq",
                [*(value for key in some for value in (users.column(key), after[key])), limit],
            )
            for user_id, seq, frame in cursor.fetchall():
                entries[users.key(user_id)].append(Entry(seq, frame))
    return entries


def _pages() -> str:
    """The SQL of what `wanted` names: for each `stream` the entries after the number `after`, up to a limit."""
    log = connection.ops.quote_name(Notification._meta.db_table)
    these = "stream_id = stream AND seq > after AND seq <= after + %s"
    if connection.vendor != "postgresql":
        return f"SELECT stream, seq, frame FROM wanted JOIN {log} ON {these}"  # noqa: S608 # nosec B608
    # A page for each stream by itself, which is what OFFSET is for: so many ranges at once could look like a reason to
    # read the whole table.
    return (
        "SELECT stream, seq, frame FROM wanted CROSS JOIN LATERAL "  # noqa: S608 # nosec B608
        f"(SELECT seq, frame FROM {log} WHERE {these} ORDER BY seq OFFSET 0) AS page"
    )


def read_page(user_id: UserKey, after: int, *, stream_uid: str | None = None, limit: int = PAGE) -> Page:
    """The next entries of one stream after a number, and what of it is lost. Never empty while there is more."""
    # The position first: what is appended in between is among the entries, beyond the head, and is not lost.
    found = position(user_id)
    rows = Notification.objects.filter(stream_id=user_id, seq__gt=after).order_by("seq")
    entries = _fitting([Entry(*row) for row in rows.values_list("seq", "frame")[:limit]])
    reset = None
    if stream_uid not in (None, found.uid):
        reset = Reset.UNKNOWN_STREAM
    elif after > found.head:
        reset = Reset.AHEAD if not entries else None
    # Also trimmed between the two queries, or deleted by hand: then the first entry is not the next number.
    elif after < found.trimmed_up_to or (entries and entries[0].seq > after + 1):
        reset = Reset.TRIMMED
    return Page(found, entries, reset)


def _fitting(entries: list[Entry]) -> list[Entry]:
    """The first of the entries, as many as fit into one answer, but one at least."""
    sizes = accumulate(len(entry.frame) for entry in entries)
    return entries[: max(1, sum(size <= PAGE_CHARACTERS for size in sizes))]


def mark_read(user_id: UserKey, up_to: int) -> Position:
    """Remember that the user has read everything up to a number (never less than before, never beyond the head)."""
    with transaction.atomic():
        stream = Stream.objects.select_for_update(no_key=True).filter(user_id=user_id).first()
        if stream is not None and stream.read_up_to < (reached := min(up_to, stream.head)):
            stream.read_up_to = reached
            stream.save(update_fields=["read_up_to"])
            unread = stream.head - max(reached, stream.trimmed_up_to)
            publish.on_commit(publish.ReadUpTo(user_id, stream.uid, reached, unread))
    return position(user_id)


def restart_all() -> int:
    """Give every stream a new id; gives their number. After a backup was restored, the numbers that clients hold may be
    those of notifications that no longer exist: with the new id each of them is reset to a snapshot.
    """
    streams = list(Stream.objects.only("uid"))
    for stream in streams:
        stream.uid = new_stream_id()
    Stream.objects.bulk_update(streams, ["uid"], batch_size=STREAMS_PER_QUERY)
    restarted.send(sender=Stream)
    return len(streams)


def _transaction_number() -> Any:
    """The number of the writing transaction, for `Notification.tx`: an expression, or SQLite's next number itself."""
    if connection.vendor != "sqlite":
        return RawSQL("pg_current_xact_id()::text::bigint", [], output_field=BigIntegerField())
    log, writes = Notification._meta.db_table, Writes._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            # Without the row, in a database from before the counter, it begins above what the log holds.
            f"INSERT INTO {writes} (id, tx) SELECT 1, coalesce(max(tx), 0) + 1 FROM {log} WHERE true "  # noqa: S608 # nosec B608
            f"ON CONFLICT (id) DO UPDATE SET tx = {writes}.tx + 1 RETURNING tx"
        )
        return cursor.fetchone()[0]
