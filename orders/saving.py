"""How an order is saved: as its next version, undoing nobody's change, with its history and its announcement.

`Order` inherits this. What one `order.save(change=Change(...))` does:

1. It compares the instance with the row as the instance knows it, and writes only the columns that differ.
2. The UPDATE is a compare-and-set: it matches the known state of the row and no other. Otherwise: `StaleOrder`.
3. `record_save`, the first receiver of Django's `post_save`, writes the history and announces the change. So every way
   of saving is covered: the API, the admin, a task, a shell, `Order.objects.create()`, related managers.

All of it is one transaction, and the `Change` lives as long as that call.

**What an instance knows of its row.** A state of a row has a name, its *stamp*: `version` and `updated_at`. The version
alone is not enough: after a rollback somebody else may take the same number.

A save within the caller's transaction may be rolled back later, and no one tells the instance. So the instance keeps
each state since the last one that is surely committed. As long as there are several, the next `save()` first reads the
stamp of the row, which costs one small query, and goes on from the state that the row is really in. An order that is
loaded and saved once, which is what the services do, costs no query more than the UPDATE.

This module refuses to judge: whether a step is legal is the business of `services` and `lifecycle`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

from django.db import models, router, transaction
from django.db.models import QuerySet
from django.utils import timezone

from orders.history import Change, record, tell
from orders.positions import count_write
from orders.signals import News, What

#: The columns that together name one state of a row.
STAMP = ("version", "updated_at")
#: Attributes that a save sets itself, and takes back when it fails.
SET_BY_SAVE = ("id", "version", "status_since", "news_at", "created_at", "updated_at")


class StaleOrder(Exception):
    """The row is not in the state that this instance knows; saving it would undo somebody's change."""


@dataclass(frozen=True, slots=True)
class Row:
    """One state of an order's row: `columns` by name, JSON as text, so that later changes in place cannot reach it.

    `whole` is false for a state with deferred columns. `exists` is false for what there was before the INSERT.
    """

    columns: Mapping[str, Any]
    whole: bool = True
    exists: bool = True

    @property
    def stamp(self) -> tuple[Any, Any] | None:
        """The name of this state: `version` and `updated_at`; None if there is no row."""
        return (self.columns.get("version"), self.columns.get("updated_at")) if self.exists else None


@dataclass(frozen=True, slots=True)
class Saving:
    """A save that is under way: where it starts from, and what `record_save` needs to know of it."""

    known: tuple[Row, ...]
    change: Change
    from_status: str
    written: Collection[str]

    def result(self, columns: Mapping[str, Any]) -> Row:
        """The state of the row after it; `columns` are the instance's.

        A column that was not written stays what it was, whatever a receiver of `pre_save` has made of the attribute.
        """
        before = self.known[-1]
        return Row({**(before.columns if before.exists else {}), **{name: columns[name] for name in self.written}})

    def changed(self, columns: Mapping[str, Any]) -> list[str]:
        """The names of the order's fields that it changes, in alphabetical order; `columns` are the instance's."""
        return _differing(self.known[-1].columns, columns, self.written)


def _differing(before: Mapping[str, Any], after: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The names of the fields in which two states differ, but for the stamp, in alphabetical order."""
    return sorted(name.removesuffix("_id") for name in names if name not in STAMP and before[name] != after[name])


class RecordedModel(models.Model):
    """A model whose every save is the next version of its row and is recorded. `Order` is the only one."""

    # Declared by the subclass.
    #: The columns whose change is a new version.
    VERSIONED: tuple[str, ...]
    #: Those of them that hold JSON.
    VERSIONED_JSON: tuple[str, ...]
    status: Any
    status_since: Any
    news_at: Any
    version: Any
    created_at: Any
    updated_at: Any
    tx: Any

    #: The states in which the row may be: the last is the newest, the first is the last one surely committed.
    #: Empty for an instance that was neither loaded nor saved.
    _known: tuple[Row, ...] = ()
    #: Set while `save()` runs, for Django's hooks below, which pass no argument of ours on.
    _saving: Saving | None = None

    class Meta:
        abstract = True

    def save(
        self,
        *,
        change: Change | None = None,
        update_fields: Iterable[str] | None = None,
        using: str | None = None,
        force_insert: Any = False,
        **kwargs: Any,
    ) -> None:
        """Save what differs from the row, as its next version; the history commits with it.

        If nothing differs, nothing is written, and the row is as the instance is. Raises `StaleOrder` if the row is
        not in the state that this instance knows. Raises ValueError if `update_fields` leaves out a column that was
        changed, because the snapshot that goes out would tell of it, and for another customer: the one of before has to
        be told (`services.change_customer`). A save that raises leaves the instance as it was.
        """
        change = change or Change()
        using = using or router.db_for_write(type(self), instance=self)
        self._normalise()
        if force_insert or self._state.adding or self.pk is None:
            known: tuple[Row, ...] = (self._no_row(),)
        else:
            known = self._find_row(using)
        before = known[-1]
        with self._unchanged_on_failure():
            if before.exists:
                written = self._next_version(before, change, update_fields)
                if not written:
                    self._known = known
                    return
                kwargs["update_fields"] = {*written, "tx"} | ({"news_at"} if "status" in written else set())
            else:
                written = {*self.VERSIONED, *STAMP}
                self._first_version(before, change)
                # With a key of its own Django would first try an UPDATE, and so replace whatever order has that key.
                kwargs |= {"force_insert": force_insert or True, "update_fields": update_fields}
            from_status = before.columns["status"] if change.from_status is None else change.from_status
            self._saving, outer = Saving(known, change, from_status, written), self._saving
            try:
                # An error in there rolls back the caller's transaction too, so no savepoint is spent on it.
                with transaction.atomic(using=using, savepoint=False):
                    count_write()
                    super().save(using=using, **kwargs)
                    if self._saving is not None:  # nobody called the receiver: a proxy model, or a signal that is muted
                        record_save(instance=self)
            finally:
                self._saving = outer
        if transaction.get_autocommit(using):  # no transaction is open any more: what was saved is committed
            self._known = self._known[-1:]

    def _first_version(self, before: Row, change: Change) -> None:
        """Prepare the INSERT. After a rollback the instance goes back to the key and version that it had before."""
        self._state.adding = True
        self.pk, self.version = before.columns["id"], before.columns["version"]
        self.news_at = change.occurred_at
        self.status_since = change.occurred_at or self.status_since

    def _next_version(self, before: Row, change: Change, update_fields: Iterable[str] | None) -> set[str]:
        """Prepare the UPDATE; gives the columns that it has to write, none if nothing differs."""
        changed = {name for name, value in self._columns().items() if value != before.columns[name]} - set(STAMP)
        if update_fields is not None and (left_out := changed - set(self._attnames(update_fields))):
            raise ValueError(f"save() would leave out what was changed: {', '.join(sorted(left_out))}.")
        if "customer_id" in changed and change.former is None:
            raise ValueError(f"Order {self} belongs to another customer; call orders.services.change_customer().")
        if change.from_status is not None and change.from_status != self.status:
            changed.add("status")
        if not changed:
            return changed
        if "status" in changed and (change.occurred_at or "status_since" not in changed):
            self.status_since = change.occurred_at or timezone.now()
        if "status" in changed:
            self.news_at = max(self.news_at or self.status_since, self.status_since)
        self.version = before.columns["version"] + 1
        return changed | {"status_since", "version", "updated_at"}

    def _do_update(self, base_qs: QuerySet[Any], *args: Any) -> Any:
        """Django's own hook for the UPDATE of a save: made a compare-and-set on the stamp, at no extra query.

        Two instances of one row that are saved one after the other would otherwise undo each other.
        """
        if self._saving is None:  # a fixture, which has not loaded what it replaces
            return super()._do_update(base_qs, *args)
        columns = self._saving.known[-1].columns
        known = base_qs.filter(version=columns["version"], updated_at=columns["updated_at"])
        updated = super()._do_update(known, *args)
        if not updated:
            raise self._stale()
        return updated

    @contextmanager
    def _unchanged_on_failure(self) -> Iterator[None]:
        """Otherwise a second try would compare with a row that this instance has never seen."""
        adding, known = self._state.adding, self._known
        attributes = {name: self.__dict__[name] for name in SET_BY_SAVE if name in self.__dict__}
        try:
            yield
        except BaseException:
            self._state.adding, self._known = adding, known
            self.__dict__.update(attributes)
            raise

    # What the instance knows of its row.

    def _find_row(self, using: str) -> tuple[Row, ...]:
        """What is known of the row, the state in which it is now being the last; raises `StaleOrder`.

        Reads nothing if only one state is possible, because then the compare-and-set decides.
        """
        known = self._known
        if not known:
            raise StaleOrder(f"{self} was not loaded from the database; load it.")
        if len(known) > 1:
            rows: QuerySet[Any] = type(self)._base_manager.using(using).filter(pk=self.pk)
            if not known[0].exists:
                # SQLite gives the key of an INSERT that was rolled back to the next one: that row is another order's.
                rows = rows.filter(created_at=self.created_at)
            stamp = rows.values_list("version", "updated_at").first()
            while known and known[-1].stamp != stamp:
                known = known[:-1]  # rolled back
            if not known:
                raise self._stale()
            if transaction.get_autocommit(using):
                known = known[-1:]
        if not known[-1].whole:
            known = (*known[:-1], self._read_whole(known[-1], using))
        return known

    def _read_whole(self, part: Row, using: str) -> Row:
        """The whole row, for an instance with deferred columns, which get their values here.

        Somebody may have changed the row since its first part was read. What was read then must still be so.
        """
        fresh = type(self)._base_manager.using(using).filter(pk=self.pk).first()
        if fresh is None:
            raise self._stale()
        row = fresh._known[-1]
        if any(row.columns[name] != value for name, value in part.columns.items()):
            raise self._stale()
        for field in self._meta.concrete_fields:
            self.__dict__.setdefault(field.attname, fresh.__dict__[field.attname])
        return row

    def _no_row(self) -> Row:
        """What the instance knows before its INSERT."""
        return Row({"id": self.pk, "version": self.version, "status": ""}, exists=False)

    def _stale(self) -> StaleOrder:
        return StaleOrder(f"Order {self} has changed since it was loaded; load it again.")

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any], **kwargs: Any) -> Self:
        instance = super().from_db(db, field_names, values, **kwargs)
        instance._known = (instance._row(),)
        return instance

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: QuerySet[Any] | None = None,
    ) -> None:
        """As Django's. A deferred column is read through here as well."""
        if fields is not None:
            fields = list(fields)
        elif from_queryset is not None and from_queryset.query.deferred_loading[0]:
            # Nobody tells which columns it has read, and so which of those in memory are still unsaved.
            raise ValueError("A queryset that defers columns cannot refresh an order; name the `fields`.")
        super().refresh_from_db(using=using, fields=fields, from_queryset=from_queryset)
        fresh, known = self._row(), self._known
        if fields is None:
            # What was read may be rolled back, as what was saved may.
            keep = known and known[-1].whole and not transaction.get_autocommit(self._state.db)
            self._known = (*(row for row in known if row != fresh), fresh) if keep else (fresh,)
        elif known:
            # The stamp stays the first one that was read: if it has another now, the next save is told.
            names = set(self._attnames(fields)) - {name for name in STAMP if name in known[-1].columns}
            late = {name: value for name, value in fresh.columns.items() if name in names}
            self._known = (*known[:-1], replace(known[-1], columns={**known[-1].columns, **late}))

    def _row(self) -> Row:
        """The state of the row that the instance has just read."""
        columns = self._columns()
        return Row(columns, whole=len(columns) == len(self.VERSIONED) + len(STAMP))

    def _columns(self) -> dict[str, Any]:
        """The versioned columns and the stamp, as far as they are not deferred."""
        mine = self.__dict__
        columns = {name: mine[name] for name in (*self.VERSIONED, *STAMP) if name in mine}
        for name in self.VERSIONED_JSON:
            if name in columns:
                columns[name] = json.dumps(columns[name], sort_keys=True)
        return columns

    def _normalise(self) -> None:
        """Turn assigned values into what the database will give back: a snapshot is the same before and after."""
        for field in self._meta.concrete_fields:
            if field.attname in self.__dict__ and not isinstance(field, models.JSONField):
                setattr(self, field.attname, field.to_python(getattr(self, field.attname)))

    def _attnames(self, names: Iterable[str]) -> list[str]:
        """The columns of fields, which Django lets a caller name either way (`customer`, `customer_id`)."""
        attnames = {field.name: field.attname for field in self._meta.concrete_fields}
        return [attnames.get(name, name) for name in names]

    # For `many`, which writes rows whose locks the caller holds.

    def advance_from(self, before: Self) -> list[str]:
        """Count the version up in memory, as `save` would. Gives the names of the fields that differ from before."""
        self._normalise()
        differing = _differing(before._columns(), self._columns(), self.VERSIONED)
        if differing:
            self.version += 1
            self.updated_at = timezone.now()  # the write sets it again, on the last of several states of one order
        return differing


def record_save(*, instance: RecordedModel, raw: bool = False, **_: Any) -> None:
    """Write the history of a save, and announce it. Called by `post_save`; fixtures (`raw`) bring their own history."""
    if raw:
        return
    saving, instance._saving = instance._saving, None
    if saving is None:
        raise RuntimeError("An order is saved by save(), which knows what differs; not by save_base().")
    # From here on another receiver may change the instance and save it again.
    instance._known = (*saving.known, saving.result(instance._columns()))
    change = saving.change
    if change.former is not None:
        change.former.version = instance.version
        told = ((What.REMOVED, change.former), (What.CREATED, instance))
        tell([News(what, order, at=instance.updated_at, notify=change.notify) for what, order in told])
        return
    if saving.from_status == instance.status:
        changed = saving.changed(instance._columns())
        tell([News(What.UPDATED, instance, at=instance.updated_at, notify=change.notify, changed=changed)])
        return
    entry = change.made or change.entry(instance, from_status=saving.from_status)
    what = What.STATUS_CHANGED if saving.from_status else What.CREATED
    record([entry], [News(what, instance, at=entry.recorded_at, note=change.note, notify=change.notify)])
