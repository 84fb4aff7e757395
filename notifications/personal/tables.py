"""What is kept of a person, and where: the registry that each app adds its tables to, in its module `personal`.

`export` and `forgetting` walk it and know no table by name. Each text of each table is named: as personal (it tells of
the person whose row it is), as secret (it proves who somebody is, and is shown to nobody) or as impersonal. A project's
test that asks `unnamed()` for what was left out keeps the registry whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.apps import apps
from django.db.models import CharField, Field, FileField, JSONField, Model, QuerySet, TextField

#: A user, as read from the database before anything of it is forgotten.
User: TypeAlias = Any
#: Columns in which something of a person may stand as text.
TEXTS = (CharField, TextField, JSONField, FileField)


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table. `model` is its label, `lending.Reservation`."""

    model: str
    #: The rows that are a user's: what leads from a row to the user, `book__reader`, or a function. None: there are no
    #: such rows.
    rows: str | Callable[[User], QuerySet[Any]] | None = None
    personal: Collection[str] = ()
    secret: Collection[str] = ()
    impersonal: Collection[str] = ()
    #: The name of its part of the export; empty: its rows are not handed over.
    title: str = ""
    #: Removes what tells of the user, and gives the number of rows that it has deleted or changed. Safe to run twice.
    forget: Callable[[User], int] | None = None

    def rows_of(self, user: User) -> QuerySet[Any]:
        """The rows that are the user's."""
        manager = self.cls._base_manager
        if self.rows is None:
            return manager.none()
        return manager.filter(**{self.rows: user.pk}) if isinstance(self.rows, str) else self.rows(user)

    @property
    def cls(self) -> type[Model]:
        return apps.get_model(self.model)

    def exported(self) -> list[Field[Any, Any]]:
        """The columns that are handed over: all but the secret ones."""
        return [field for field in self.cls._meta.concrete_fields if field.name not in self.secret]


_tables: dict[str, Table] = {}


def declare(*tables: Table) -> None:
    """Add tables, each once. The last one is forgotten first.

    So the project's tables come before the engine's, and of an app's own the one that its other transactions lock first
    is declared last: those that change something lock its row, and then the stream that they tell of it in.
    """
    for table in tables:
        if table.model.lower() in _tables:
            raise ValueError(f"{table.model} is declared twice.")
        _tables[table.model.lower()] = table


def declared() -> list[Table]:
    return list(_tables.values())


def unnamed() -> Iterator[str]:
    """The texts that nobody has said of whether they are personal, as `app.Model.column`; and the names of columns that
    there are not.
    """
    for model in apps.get_models(include_auto_created=True):
        label = model._meta.label
        table = _tables.get(label.lower(), Table(model=label))
        named = {*table.personal, *table.secret, *table.impersonal}
        texts = {field.name for field in model._meta.concrete_fields if isinstance(field, TEXTS)}
        yield from (f"{label}.{name}" for name in sorted(texts - named))
        columns = {field.name for field in model._meta.concrete_fields}
        yield from (f"{label}.{name}, which is no column" for name in sorted(named - columns))


def deleting(model: str, lookup: str) -> Callable[[User], int]:
    """Forgets a user by deleting the rows that `lookup` leads from to the user."""

    def forget(user: User) -> int:
        return int(apps.get_model(model)._base_manager.filter(**{lookup: user.pk}).delete()[0])

    return forget
