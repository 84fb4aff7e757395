"""Pages of orders, `{next, previous, results}`: REST framework's cursor pagination, made strict."""

from __future__ import annotations

from base64 import b64decode
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

from django.utils.dateparse import parse_datetime
from rest_framework import exceptions, serializers
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from api.fields import Digits


class OrderPages(CursorPagination):
    """Newest first; the primary key decides between orders of one moment.

    A page stays where it is while orders are added before it. Raises `ValidationError` for a cursor or a limit that is
    not one, instead of answering something else than was asked for.
    """

    ordering = ("-placed_at", "-pk")
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200
    #: How many orders may share one `placed_at`: shops that know the day alone import thousands at midnight, and past
    #: REST framework's bound of 1,000 the pages would begin again without an end.
    offset_cutoff = 1_000_000
    cursor_query_description = "From `next` or `previous` of a page; opaque."
    page_size_query_description = "Orders on a page, 50 unless told, 200 at most."

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

    def decode_cursor(self, request: Request) -> Cursor | None:
        given = request.query_params.get(self.cursor_query_param)
        if given is None:
            return None
        try:
            text = b64decode(given, validate=True).decode("ascii")
            tokens = parse_qs(text, keep_blank_values=True, strict_parsing=True)
            cursor = super().decode_cursor(request)
            readable = tokens.keys() <= {"o", "p", "r"} and _is_position(tokens.get("p", [None])[0])
        except (ValueError, exceptions.NotFound):
            readable = False
        if not readable:
            raise serializers.ValidationError({"cursor": ["This is not a cursor of ours."]}, code="invalid")
        return cursor

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """REST framework's, with what is always there."""
        described: dict[str, Any] = super().get_paginated_response_schema(schema)
        return {**described, "required": ["next", "previous", "results"]}


def _is_position(position: str | None) -> bool:
    """Whether it is a time as a page gives it: in UTC, as other zones reach beyond what databases can compare."""
    if position is None:
        return True
    moment = parse_datetime(position)  # raises ValueError for the 30th of February
    return moment is not None and moment.utcoffset() == timedelta(0)
