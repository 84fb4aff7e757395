"""What views say in the OpenAPI document beyond what drf-spectacular reads off them: their credentials and headers.

The views name the headers below in their `extend_schema`; `openapi` adds what follows from an operation's shape. `make
test` sends generated requests to every operation, and fails on an answer that stands nowhere in the document.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter


class Operations(AutoSchema):
    """Says of lists how long they may be, which drf-spectacular does for lists of plain values only."""

    def _unwrap_list_serializer(self, serializer: Any, direction: Any) -> dict[str, Any] | None:
        schema: dict[str, Any] | None = super()._unwrap_list_serializer(serializer, direction)
        if schema is not None:
            bounds = {"minItems": getattr(serializer, "min_length", None)}
            bounds["maxItems"] = getattr(serializer, "max_length", None)
            schema |= {name: bound for name, bound in bounds.items() if bound is not None}
        return schema


class AmountField(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """What `fields.Amount` takes: a decimal string with so many digits, or a number."""

    target_class = "api.fields.Amount"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        places = self.target.decimal_places
        whole = self.target.max_digits - places
        text = rf"^\+?([0-9]{{1,{whole}}}(\.[0-9]{{0,{places}}})?|\.[0-9]{{1,{places}}})$"
        bounds = {"minimum": 0, "maximum": 10**whole - 1}
        return {"anyOf": [{"type": "string", "pattern": text}, {"type": "number", **bounds}]}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How `BearerAuthentication` is called in the document."""

    target_class = "api.authentication.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "From `manage.py create_token` or the admin."}


class StreamScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How `StreamAuthentication` is called in the document."""

    target_class = "api.authentication.StreamAuthentication"
    name = "streamToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        description = "A token, or what `/tickets/exchange` gave for a ticket."
        return {"type": "http", "scheme": "bearer", "description": description}


# Headers.


def _header(name: str, description: str, **kwargs: Any) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.STR, OpenApiParameter.HEADER, description=description, **kwargs)


IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": r'^([!#-~]([ -~]{0,253}[!-~])?|"[ -~]{1,253}")$'},
    OpenApiParameter.HEADER,
    description="The same answer again for 24 hours, and no change made twice.",
)
IF_MATCH = OpenApiParameter(
    "If-Match",
    {"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$'},
    OpenApiParameter.HEADER,
    description="The ETag that the order has to have, in its quotes, or several of which it has to have one. A weak "
    "one, which begins with `W/`, is never the order's.",
)
IF_NONE_MATCH = _header("If-None-Match", "The ETag that the caller has.")
ONLY_NEW = _header("If-None-Match", "The order must not be there yet.", enum=["*"])
LOCATION = _header("Location", "The new order.", response=[201])
NUMBER = OpenApiParameter(
    "number",
    OpenApiTypes.STR,
    OpenApiParameter.PATH,
    description="The shop's own number, percent-encoded as `encodeURIComponent` does it.",
)


def etag(*statuses: int) -> OpenApiParameter:
    return _header("ETag", "The order's version, in quotes.", response=list(statuses))
