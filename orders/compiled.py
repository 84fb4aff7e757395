"""A query whose SQL is made once, for the few that a process runs hundreds of times a second.

Django makes the SQL of a query anew each time it runs: it walks the model's columns, names each, joins the tables and
puts the text together. For one row of a wide table that takes three times as long as to ask PostgreSQL and to read its
answer, and the text is the same each time. So it is made by the first call, by Django itself, and kept. When the model
changes, so does the text; there is no SQL here that could be forgotten.

`selectors` runs what is compiled here. A query that is asked for less often stays a QuerySet, which everybody can read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from django.db import connection
from django.db.models import QuerySet


class CompiledQuery:
    """A query for one row. `queryset` gives it, with `values_list` and with any texts in the place of its parameters.

    The columns come as the ORM gives them: in Python's types, and through the fields' own converters.
    """

    def __init__(self, queryset: Callable[[], QuerySet[Any, Any]]) -> None:
        self._queryset = queryset

    @cached_property
    def _compiled(self) -> tuple[str, int, dict[int, tuple[list[Any], Any]]]:
        """The SQL, how many parameters it has, and the converters of those columns that need any, by their places."""
        compiler = self._queryset().query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        converters = compiler.get_converters([column for column, _, _ in compiler.select])
        return sql, len(parameters), converters

    def row(self, *parameters: str) -> Sequence[Any] | None:
        """The row for these parameters, in the order of the SQL; None if there is none."""
        sql, count, converters = self._compiled
        if len(parameters) != count:
            raise TypeError(f"This query has {count} parameters.")
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            found = cursor.fetchone()
        if found is None:
            return None
        row = list(found)
        for place, (functions, column) in converters.items():
            for convert in functions:
                row[place] = convert(row[place], column, connection)
        return row
