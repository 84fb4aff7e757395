"""Pages of rows that come one after the other, `{next, previous, results}`: a cursor is the key of a row.

For what is only ever added to, newest first: the messages and the history of an order. Pages of orders are `paging`'s.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from rest_framework import serializers
from rest_framework.request import Request

from api.filters import OF_PAGES, refuse_blanks
from api.paging import MAX_KEY, OrderPages


class Cursor(NamedTuple):
    """A page begins beyond the row with this key, towards newer ones with `back`."""

    key: int
    back: bool

    def written(self) -> str:
        """As it stands in a URL: opaque."""
        return f"{'a' if self.back else 'b'}{self.key}"

    @classmethod
    def read(cls, text: str) -> Cursor:
        """What `written` gave; raises ValueError for anything else."""
        found = re.fullmatch(r"([ab])([0-9]{1,19})", text, re.ASCII)
        if found is None or int(found[2]) > MAX_KEY:
            raise ValueError("This is not a cursor.")
        return cls(int(found[2]), found[1] == "a")


class KeyPages(OrderPages):
    """Newest first. A page stays where it is while rows are added: its cursor is the key of one."""

    cursor_class = Cursor

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        refuse_blanks(request.query_params)
        if unknown := [name for name in request.query_params if name not in OF_PAGES][:50]:
            raise serializers.ValidationError(
                {name: ["This parameter is not known."] for name in unknown}, code="unknown_parameter"
            )
        size = self.get_page_size(request)
        cursor = self.read_cursor(request)
        self._url = request.build_absolute_uri()
        self._next = self._previous = None
        if cursor is None or not cursor.back:
            older = queryset if cursor is None else queryset.filter(pk__lt=cursor.key)
            found = list(older.order_by("-pk")[: size + 1])
            page = found[:size]
            if len(found) > size:
                self._next = Cursor(page[-1].pk, back=False)
            if cursor is not None:
                self._previous = Cursor(page[0].pk if page else max(0, cursor.key - 1), back=True)
            return page
        found = list(queryset.filter(pk__gt=cursor.key).order_by("pk")[: size + 1])
        page = found[size - 1 :: -1] if len(found) > size else found[::-1]
        self._next = Cursor(page[-1].pk if page else min(MAX_KEY, cursor.key + 1), back=False)
        if len(found) > size:
            self._previous = Cursor(page[0].pk, back=True)
        return page


class MessagePages(KeyPages):
    """Of the conversation about an order."""

    page_size_query_description = "Messages on a page, 50 unless told, 200 at most."


class HistoryPages(KeyPages):
    """Of the history of an order."""

    page_size_query_description = "Entries on a page, 50 unless told, 200 at most."
