"""The position of a reader who asks what has changed: the number of a transaction, and not a time of anybody's clock.

Each write of an order leaves the number of its transaction in the row: `saving` sees to that. `api.changes` reads the
orders in the order of these numbers. A time would not do: it is taken before the commit, and a reader who has seen a
later one in the meantime would never get the change.

On PostgreSQL numbers are given when transactions begin to write, and not when they commit. So a reader may go on from
no further than the oldest transaction that is still running (`pg_snapshot_xmin`). SQLite has one writer at a time: its
numbers are in commit order as they are, and are counted here.
"""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from django.db import connection, connections, models, transaction
from django.db.models.expressions import RawSQL


def new_numbering() -> str:
    """An opaque name for the numbers: positions that carry another one mean nothing."""
    return secrets.token_urlsafe(9)


class Numbering(models.Model):
    """One row: what the numbers are called, and on SQLite how far they have come."""

    uid = models.CharField(max_length=16, default=new_numbering)
    # SQLite only. The greatest number in the orders would fall when the order that has it is deleted.
    tx = models.BigIntegerField(default=0)

    class Meta:
        constraints = (models.CheckConstraint(condition=models.Q(pk=1), name="numbering_is_one"),)

    def __str__(self) -> str:
        return self.uid


class Known(int):
    """The number of the transaction that is open, where it was asked for."""


class TransactionNumber(models.BigIntegerField):
    """The number of the transaction that last wrote the row. Whoever writes on SQLite calls `count_write` first."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = model_instance.__dict__.get(self.attname)
        if isinstance(value, Known):
            return int(value)
        return this_transaction(connections[model_instance._state.db or "default"].vendor)


def this_transaction(vendor: str) -> RawSQL:
    """The number of the transaction in which this expression is written to a row."""
    if vendor == "sqlite":
        return RawSQL(f"(SELECT tx FROM {Numbering._meta.db_table} WHERE id = 1)", [])  # noqa: S608, S611 # nosec B608 B611
    return RawSQL("pg_current_xact_id()::text::bigint", [])


class Now(NamedTuple):
    """How far the numbers are: all transactions below `settled` have ended, and none has reached `end`."""

    numbering: str
    settled: int
    end: int


def count_write() -> None:
    """Give this transaction the next number. Nothing to do on PostgreSQL, which gives one to each that writes."""
    if connection.vendor != "sqlite":
        return
    table = Numbering._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (id, uid, tx) VALUES (1, %s, 1) "  # noqa: S608 # nosec B608
            f"ON CONFLICT (id) DO UPDATE SET tx = {table}.tx + 1",
            [new_numbering()],
        )


def number() -> Known:
    """The number of this transaction. For many rows: Django then hands each column over as one parameter, and with an
    expression in it each value as one, which costs as much as all the rest.
    """
    count_write()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT tx FROM {Numbering._meta.db_table} WHERE id = 1"  # noqa: S608 # nosec B608
            if connection.vendor == "sqlite"
            else "SELECT pg_current_xact_id()::text::bigint"
        )
        return Known(cursor.fetchone()[0])


def now() -> Now:
    """How far the numbers are. Whoever reads orders afterwards sees all that was written below `settled`."""
    table = Numbering._meta.db_table
    settled = end = "tx + 1"
    if connection.vendor == "postgresql":
        settled, end = (f"pg_snapshot_{edge}(pg_current_snapshot())::text::bigint" for edge in ("xmin", "xmax"))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT uid, {settled}, {end} FROM {table} WHERE id = 1")  # noqa: S608 # nosec B608
        found = cursor.fetchone()
    if found is None:
        # The first reader of all. Two who meet here are let in one after the other.
        Numbering.objects.bulk_create([Numbering(pk=1)], ignore_conflicts=True)
        return now()
    return Now(*found)


@transaction.atomic
def begin_anew(orders: models.QuerySet[Any]) -> None:
    """Make all positions mean nothing, and put all the `orders` at the beginning.

    For a backup that was restored: the numbers in it may be those of another cluster, and the positions that readers
    hold may be of changes that no longer exist.
    """
    Numbering.objects.update_or_create(pk=1, defaults={"uid": new_numbering()})
    orders.exclude(tx=0).update(tx=0)
