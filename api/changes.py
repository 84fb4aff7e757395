"""What changed since: `/orders?order_by=updated`, oldest change first, and a position to come back with.

A reader follows `next` until it is null, keeps the `position` of the last page, and comes back with it as `cursor`. It
misses nothing, however late a change commits. While older transactions are still running an order may be given again,
unchanged: the position then stays behind them (`orders.positions`).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from django.db.models import Q, QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from api.paging import OrderPages, fitting, key_of
from orders import positions
from orders.models import Order


class Position(NamedTuple):
    """Behind the order with this transaction number and key. With a `mark` the reader comes back to that number."""

    numbering: str
    tx: int
    key: int = 0
    mark: int | None = None

    def within(self, orders: QuerySet[Order]) -> QuerySet[Order]:
        """Those of the orders that are behind it, in the order of their changes."""
        # The number alone stands first, so that the index on it is used.
        return orders.filter(Q(tx__gt=self.tx) | Q(pk__gt=self.key), tx__gte=self.tx).order_by("tx", "pk")

    def written(self) -> str:
        """As it stands in a URL: opaque."""
        parts: dict[str, Any] = {"n": self.numbering, "t": self.tx, "k": self.key}
        if self.mark is not None:
            parts["m"] = self.mark
        return b64encode(urlencode(parts).encode()).decode()

    @classmethod
    def read(cls, text: str) -> Position:
        """What `written` gave; raises ValueError for anything else."""
        decoded = b64decode(text, validate=True).decode("ascii")
        pairs = parse_qsl(decoded, keep_blank_values=True, strict_parsing=True)
        parts = dict(pairs)
        if len(parts) != len(pairs) or not {"n", "t", "k"} <= parts.keys() <= {"n", "t", "k", "m"}:
            raise ValueError("These are not its parts.")
        mark = key_of(parts["m"]) if "m" in parts else None
        return cls(parts["n"], key_of(parts["t"]), key_of(parts["k"]), mark)


class ChangePages(OrderPages):
    """Oldest change first; `position` is there on every page, `previous` on none."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        size = self.get_page_size(request)
        now = positions.now()  # before the orders are read: none that was settled by then is missing from them
        begin = self._begin(request, now)
        found = list(begin.within(queryset)[: size + 1])
        page = fitting(found[:size])
        more = len(found) > len(page)
        # Whoever turns pages beyond what is settled comes back to where the first of these pages stood.
        mark = now.settled if begin.mark is None else begin.mark
        self._url = request.build_absolute_uri()
        self._next_page = None
        self._position = Position(now.numbering, mark)
        if more:
            last = page[-1]
            settled = last.tx < mark
            self._next_page = Position(now.numbering, last.tx, last.pk, None if settled else mark)
            if settled:
                self._position = self._next_page
        return page

    def get_paginated_response(self, data: Any) -> Response:
        following = self._next_page and replace_query_param(
            self._url, self.cursor_query_param, self._next_page.written()
        )
        return Response({"next": following, "previous": None, "position": self._position.written(), "results": data})

    def _begin(self, request: Request, now: positions.Now) -> Position:
        given = request.query_params.get(self.cursor_query_param)
        if given is None:
            return Position(now.numbering, 0)
        try:
            position = Position.read(given)
        except ValueError:
            raise serializers.ValidationError({"cursor": ["This is not a cursor of ours."]}, code="invalid") from None
        if position.numbering != now.numbering or max(position.tx, position.mark or 0) > now.end:
            raise serializers.ValidationError(
                {"cursor": ["The database has been restored since this position was given. Begin without one."]},
                code="position_lost",
            )
        return position
