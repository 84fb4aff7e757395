"""Pages of orders, `{next, previous, results}`: a cursor names the order that a page begins after.

REST framework's own cursor is a moment and an offset among the orders of that moment: while others are added, orders
are skipped and given twice. Here it is the moment and the primary key.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlencode

from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_datetime
from rest_framework import serializers
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from api.fields import Digits
from notifications.log.stream import PAGE_CHARACTERS
from orders.models import Order
from orders.shapes import characters_of

#: How many orders a cursor can leave out: a URL with that many keys has some 3,000 characters.
MAX_WITHOUT = 100
MAX_KEY = 2**63 - 1


class Link(Protocol):
    """What a page links to another one by."""

    def written(self) -> str: ...


class Cursor(NamedTuple):
    """A page begins beyond this moment and key, towards newer ones with `back`; some keys may be left out."""

    placed_at: datetime
    key: int
    back: bool = False
    without: tuple[int, ...] = ()

    @classmethod
    def after(cls, order: Order, *, back: bool = False, without: Sequence[int] = ()) -> Cursor:
        return cls(order.placed_at, order.pk, back, tuple(without))

    def within(self, orders: QuerySet[Order]) -> QuerySet[Order]:
        """Those of the orders that are beyond it, in its direction."""
        found = orders.exclude(pk__in=self.without) if self.without else orders
        # The moment alone stands first, so that the index on it is used.
        if self.back:
            beyond = Q(placed_at__gt=self.placed_at) | Q(pk__gt=self.key)
            return found.filter(beyond, placed_at__gte=self.placed_at).order_by("placed_at", "pk")
        beyond = Q(placed_at__lt=self.placed_at) | Q(pk__lt=self.key)
        return found.filter(beyond, placed_at__lte=self.placed_at).order_by("-placed_at", "-pk")

    def written(self) -> str:
        """As it stands in a URL: opaque."""
        parts = {"p": str(self.placed_at), "k": self.key}
        if self.back:
            parts["r"] = 1
        if self.without:
            parts["x"] = ".".join(map(str, self.without))
        return b64encode(urlencode(parts).encode()).decode()

    @classmethod
    def read(cls, text: str) -> Cursor:
        """What `written` gave; raises ValueError for anything else."""
        decoded = b64decode(text, validate=True).decode("ascii")
        pairs = parse_qsl(decoded, keep_blank_values=True, strict_parsing=True)
        parts = dict(pairs)
        if len(parts) != len(pairs) or not {"p", "k"} <= parts.keys() <= {"p", "k", "r", "x"}:
            raise ValueError("These are not its parts.")
        placed_at = parse_datetime(parts["p"])  # raises ValueError for the 30th of February
        # In UTC, as pages give it: other zones reach beyond what databases can compare.
        if placed_at is None or placed_at.utcoffset() != timedelta(0) or parts.get("r", "1") != "1":
            raise ValueError("This is no time in UTC, or no direction.")
        keys = parts["x"].split(".") if "x" in parts else []
        if len(keys) > MAX_WITHOUT:
            raise ValueError("No page leaves out that many.")
        return cls(placed_at, key_of(parts["k"]), "r" in parts, tuple(map(key_of, keys)))


def key_of(text: str) -> int:
    """A key or another whole number of a cursor; raises ValueError for what no column holds."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(MAX_KEY)) or int(text) > MAX_KEY:
        raise ValueError("This is no key.")
    return int(text)


class OrderPages(CursorPagination):
    """Newest first; the primary key decides between orders of one moment.

    A page stays where it is while orders are added before it. Raises `ValidationError` for a cursor or a limit that is
    not one, instead of answering something else than was asked for. Of REST framework's it is the description.
    """

    _next: Link | None
    _previous: Link | None

    ordering = ("-placed_at", "-pk")
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200
    cursor_class: Any = Cursor
    cursor_query_description = "From `next` or `previous` of a page, or its `position`; opaque."
    page_size_query_description = "Orders on a page, 50 unless told, 200 at most, and fewer if they are very long."

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        size = self.get_page_size(request)
        cursor = self.read_cursor(request)
        found = list((cursor.within(queryset) if cursor else queryset.order_by(*self.ordering))[: size + 1])
        page = fitting(found[:size])
        more = len(found) > len(page)
        self._url = request.build_absolute_uri()
        self._next = self._previous = None
        if cursor is None or not cursor.back:
            self._next = Cursor.after(page[-1], without=cursor.without if cursor else ()) if more else None
            if cursor:
                self._previous = _beyond(page[:1], cursor, back=True)
            return page
        page.reverse()
        self._next = _beyond(page[-1:], cursor, back=False)
        self._previous = Cursor.after(page[0], back=True, without=cursor.without) if more else None
        return page

    def get_paginated_response(self, data: Any) -> Response:
        links = {"next": self._link(self._next), "previous": self._link(self._previous)}
        return Response({**links, "results": data})

    def _link(self, cursor: Link | None) -> str | None:
        return None if cursor is None else replace_query_param(self._url, self.cursor_query_param, cursor.written())

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get(self.page_size_query_param)
        if given is None:
            return self.page_size
        field = Digits(min_value=1, max_value=self.max_page_size)
        try:
            limit: int = field.run_validation(given)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({self.page_size_query_param: error.detail}) from None
        return limit

    def read_cursor(self, request: Request) -> Any:
        """What the query gives as a cursor, as `cursor_class` reads it; None if it gives none."""
        given = request.query_params.get(self.cursor_query_param)
        if given is None:
            return None
        try:
            return self.cursor_class.read(given)
        except ValueError:
            raise serializers.ValidationError({"cursor": ["This is not a cursor of ours."]}, code="invalid") from None

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """The parameters for the OpenAPI document: REST framework's, with the bounds that a limit has."""
        cursor, limit = super().get_schema_operation_parameters(view)
        cursor["schema"] |= {"minLength": 1}
        limit["schema"] |= {"minimum": 1, "maximum": self.max_page_size, "default": self.page_size}
        return [cursor, limit]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A page for the OpenAPI document; REST framework's own is in the words of OpenAPI 3.0."""

        def link(description: str) -> dict[str, Any]:
            return {"type": ["string", "null"], "format": "uri", "description": description}

        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {
                "next": link("The page after this one; null on the last."),
                "previous": link("The page before this one; null on the first."),
                "position": {
                    "type": "string",
                    "description": "With `order_by=updated`: the `cursor` to come back with, on the last page too.",
                },
                "results": schema,
            },
        }


def fitting(orders: list[Order]) -> list[Order]:
    """The first of the orders, as many as fit into one answer, but one at least."""
    sizes = accumulate(characters_of(order.items, order.metadata) for order in orders)
    return orders[: max(1, sum(size <= PAGE_CHARACTERS for size in sizes))]


def _beyond(edge: list[Order], cursor: Cursor, *, back: bool) -> Cursor:
    """The way back from a page that `cursor` led to: from its edge, or where it is empty from the cursor itself,
    the order that it names included.
    """
    if edge:
        return Cursor.after(edge[0], back=back, without=cursor.without)
    return cursor._replace(key=max(0, cursor.key - 1) if back else min(MAX_KEY, cursor.key + 1), back=back)
