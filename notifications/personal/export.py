"""Everything that is kept of a user, as one JSON text that a person can read. It changes nothing.

It comes in pieces, row by row, so that a user's hundred thousand rows are never in memory. All are of one moment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from notifications.log.consistent import consistent_read
from notifications.personal.tables import Table, User, declared

#: Rows that are fetched at a time.
PAGE = 500


def export(user: User) -> Iterator[str]:
    """The pieces of an object: `user`, `exported_at`, and a list of rows for each table that has a title."""
    with consistent_read():
        yield f'{{\n"user": {_json(user.get_username())},\n"exported_at": {_json(timezone.now())}'
        for table in declared():
            if table.title:
                yield f",\n{_json(table.title)}: ["
                separator = "\n"
                for row in _rows(table, user):
                    yield separator + _json(row)
                    separator = ",\n"
                yield "\n]"
    yield "\n}\n"


def _rows(table: Table, user: User) -> Iterator[dict[str, Any]]:
    fields = table.exported()
    names = [field.attname for field in fields]
    rows = table.rows_of(user).order_by("pk").values_list(*names)
    for values in rows.iterator(chunk_size=PAGE):
        yield {name: _shown(value) for name, value in zip(names, values, strict=True)}


def _shown(value: Any) -> Any:
    """JSON that stands in a text column, as a frame does, is shown as what it says."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _json(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False, indent=1)
