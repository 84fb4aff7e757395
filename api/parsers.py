"""Reading a request's body: JSON that the database, the log and a browser can all hold, or a problem that says where.

REST framework calls `StrictJSONParser` when a view asks for `request.data`. What gets past it is an object of plain
values; which fields they may be is for `serializers` to say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import IO, Any, NoReturn

from rest_framework.exceptions import APIException
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from orders.shapes import FORBIDDEN, MAX_DEPTH, MAX_NUMBER

#: Bytes of one body: an order of 500 lines with names of 500 characters, even where each letter is sent as an escape of
#: six bytes. To read the worst such body takes a core a second and a half.
MAX_BYTES = 2_000_000
#: Of a batch. An order with five lines takes some 1,000 bytes, and commonly fewer; 1,000 of them fit in twice. What is
#: longer the server does not take either (`DATA_UPLOAD_MAX_MEMORY_SIZE`).
MAX_BATCH_BYTES = 2_500_000
#: Characters of a pointer: enough to find the place, and not the megabyte that a name may have.
MAX_POINTER = 200


class BadBody(APIException):
    """The body cannot be read; `pointer` says where in it."""

    status_code = HTTPStatus.BAD_REQUEST

    def __init__(self, pointer: str, code: str, detail: str) -> None:
        self.errors = [{"pointer": pointer[:MAX_POINTER], "code": code, "detail": detail}]
        super().__init__(detail, code)


class BodyTooLarge(BadBody):
    """More bytes than any request of this API needs."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE

    def __init__(self, limit: int) -> None:
        super().__init__("", "body_too_large", f"The body has more than {limit:,} bytes.")


class EncodedBody(APIException):
    """The body is compressed, or written otherwise: unpacked it could be a thousand times as long as its limit."""

    status_code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    default_code = "unsupported_content_encoding"
    default_detail = "A body with a Content-Encoding is not taken. Send it as it is."
    #: What is taken (RFC 9110, 15.5.16).
    headers = {"Accept-Encoding": "identity"}


def needed(request: Request) -> Any:
    """The body of a request that is nothing without one. Raises `BadBody` where there is none."""
    if request.stream is None:
        raise BadBody("", "body_missing", "The request has no body.")
    return request.data


class StrictJSONParser(BaseParser):
    """`application/json`, in UTF-8 whatever the charset parameter says (RFC 8259, 8.1), whose root is an object."""

    media_type = "application/json"
    max_bytes = MAX_BYTES

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The body as a dictionary.

        Raises `EncodedBody`, `BodyTooLarge`, or `BadBody` with a JSON pointer to what is wrong.
        """
        request: Request = (parser_context or {})["request"]
        if request.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
            raise EncodedBody
        raw = stream.read(self.max_bytes + 1)
        if len(raw) > self.max_bytes:
            raise BodyTooLarge(self.max_bytes)
        try:
            # Some ERP systems put a byte order mark first; RFC 8259 allows to ignore it.
            body = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant, object_pairs_hook=_unique)
        except UnicodeDecodeError:
            raise BadBody("", "not_utf8", "The body is not UTF-8.") from None
        except RecursionError:
            raise BadBody("", "too_deep", f"More than {MAX_DEPTH} levels of nesting.") from None
        except ValueError as error:  # also what is no number that Python reads: NaN, or digits by the thousand
            raise BadBody("", "malformed_json", f"The body is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise BadBody("", "not_an_object", "The body has to be a JSON object.")
        _check(body)
        return body


class BatchParser(StrictJSONParser):
    """For up to 1,000 whole orders."""

    max_bytes = MAX_BATCH_BYTES


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values under one name one would be lost without a word."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _check(value: Any, *path: str) -> None:
    """Look at every value. Raises `BadBody` for the first that cannot be kept.

    The pointer is made for that one alone: made for each value, it would copy a long name as often as there are values.
    """
    if isinstance(value, str):
        if FORBIDDEN.search(value):
            raise BadBody(_pointer(path), "control_character", "Control characters are not allowed.")
    elif isinstance(value, dict | list):
        if len(path) >= MAX_DEPTH:
            raise BadBody(_pointer(path), "too_deep", f"More than {MAX_DEPTH} levels of nesting.")
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if FORBIDDEN.search(str(name)):
                detail = "Control characters are not allowed in a field's name."
                raise BadBody(_pointer(path), "control_character", detail)
            _check(inner, *path, str(name))
    elif value is not None and not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise BadBody(_pointer(path), "number_out_of_range", "The number is too large; send it as a string.")


def _pointer(path: Sequence[str]) -> str:
    return "".join(map(step, path))


def step(name: str) -> str:
    """One step of a JSON pointer (RFC 6901, 3)."""
    return "/" + name.replace("~", "~0").replace("/", "~1")
