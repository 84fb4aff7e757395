"""What the OpenAPI 3.1 document says beyond what drf-spectacular reads off views and serializers.

The views name the headers below in their `extend_schema`; the hooks at the end run over the finished document. `make
test` sends generated requests to every operation, and fails on an answer that stands nowhere in the document.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How `BearerAuthentication` is called in the document."""

    target_class = "api.authentication.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "From `manage.py create_token` or the admin."}


class FreshScheme(BearerScheme):  # type: ignore[no-untyped-call]
    """The same tokens, asked for each time."""

    target_class = "api.authentication.FreshAuthentication"


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


IDEMPOTENCY_KEY = _header("Idempotency-Key", "The same answer again for 24 hours, and no change made twice.")
IF_MATCH = _header("If-Match", "The ETag that the order has to have, or several of which it has to have one.")
IF_NONE_MATCH = _header("If-None-Match", "The ETag that the caller has.")
LOCATION = _header("Location", "The new order.", response=[201])
NUMBER = OpenApiParameter(
    "number",
    OpenApiTypes.STR,
    OpenApiParameter.PATH,
    description="The shop's own number, percent-encoded as `encodeURIComponent` does it.",
)


def etag(*statuses: int) -> OpenApiParameter:
    return _header("ETag", "The order's version, in quotes.", response=list(statuses))


#: What any operation may answer beside its own: refused, not to be had as the caller wants it, too often, not now.
EVERYWHERE = (400, 401, 403, 406, 414, 429, 503)
#: `parsers.FORBIDDEN`, for a schema: surrogates cannot be written in one, and no UTF-8 text has them.
NO_CONTROL_CHARACTERS = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"
#: With a body: without a length, too large, not JSON.
WITH_BODY = (413, 415)


def describe_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Give every operation the problems that follow from its shape; a postprocessing hook of drf-spectacular."""
    # A person who tries calls from the page has a token; the cookie is sent by itself.
    schemes = result["components"]["securitySchemes"]
    result["components"]["securitySchemes"] = dict(sorted(schemes.items(), key=lambda scheme: scheme[0] != "token"))
    schemas = result["components"]["schemas"]
    schemas["Problem"] = _problem_schema(schemas)
    for path, operations in result["paths"].items():
        for operation in operations.values():
            headers = {parameter["name"] for parameter in operation.get("parameters", ())}
            statuses = {
                *EVERYWHERE,
                *(WITH_BODY if "requestBody" in operation else ()),
                *((404,) if "{" in path else ()),
                *((409, 422) if "Idempotency-Key" in headers else ()),
                *((412,) if "If-Match" in headers else ()),
                # One id of the client's for two messages.
                *((422,) if operation["operationId"] == "write_message" else ()),
            }
            for status in sorted(statuses):
                operation["responses"][str(status)] = {
                    "description": HTTPStatus(status).phrase,
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
    return result


def describe_stream(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add `/api/v1/stream`, which is `notifications.sockets.streaming` and no view; a postprocessing hook too."""
    after = {"schema": {"type": "integer", "minimum": 0}}
    result["paths"]["/api/v1/stream"] = {
        "get": {
            "operationId": "follow_stream",
            "summary": "The caller's own stream, live",
            "description": "Server-sent events: every event's data is a frame of the socket (/asyncapi.yaml).",
            "tags": ["notifications"],
            "security": [{"streamToken": []}, {"cookieAuth": []}],
            "parameters": [
                {"in": "query", "name": "after", "description": "Go on after this number.", **after},
                {"in": "query", "name": "stream", "description": "Its stream's id.", "schema": {"type": "string"}},
                {"in": "header", "name": "Last-Event-ID", "description": "As `after`; what browsers send.", **after},
            ],
            "responses": {"200": {"description": "", "content": {"text/event-stream": {"schema": {"type": "string"}}}}},
        }
    }
    return result


def describe_strictness(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Say of every body what `StrictSerializer` and `StrictJSONParser` refuse; a postprocessing hook too."""
    for name, schema in result["components"]["schemas"].items():
        if name.endswith("Request"):
            schema["additionalProperties"] = False
            for described in schema.get("properties", {}).values():
                if described.get("type") == "string" and not described.keys() & {"enum", "format", "pattern"}:
                    described["pattern"] = NO_CONTROL_CHARACTERS
    return result


def _problem_schema(schemas: dict[str, Any]) -> dict[str, Any]:
    """`LineProblem`, which the document has by way of the batch, with the id of the request."""
    line = schemas["LineProblem"]
    return {
        **line,
        "description": "An error (RFC 9457).",
        "properties": {**line["properties"], "request_id": {"type": "string"}},
        "required": [*line["required"], "request_id"],
    }
