"""What the OpenAPI 3.1 document says beyond what drf-spectacular reads off the views: answers, headers, problems.

The views wear the decorators below; `describe_problems` runs over the finished document. `make test` sends generated
requests to every operation, and fails on an answer that stands nowhere in it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers

from api import serializers as api
from api.batch import MAX_LINES, LineSerializer
from api.filters import OrderQuery
from orders.lifecycle import Status
from orders.notify import Kind


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How `BearerAuthentication` is called in the document."""

    target_class = "api.authentication.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "From `manage.py create_token` or the admin."}


# Answers that no serializer of the views describes.


class ChangedOrder(api.OrderSerializer):
    applied = serializers.BooleanField(help_text="False for a status that is late, or that the order has.")


class StatusChange(serializers.Serializer):
    from_status = serializers.ChoiceField(choices=Status.choices, allow_null=True)
    to_status = serializers.ChoiceField(choices=Status.choices)
    applied = serializers.BooleanField()
    occurred_at = serializers.DateTimeField()
    recorded_at = serializers.DateTimeField()
    note = serializers.CharField(allow_blank=True)


class Batch(serializers.Serializer):
    changes = LineSerializer(many=True, min_length=1, max_length=MAX_LINES)  # type: ignore[call-arg]


class ProblemError(serializers.Serializer):
    pointer = serializers.CharField(allow_blank=True, help_text="A JSON pointer (RFC 6901) into body or query.")
    code = serializers.CharField()
    detail = serializers.CharField()


class LineProblem(serializers.Serializer):
    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    errors = ProblemError(many=True)  # type: ignore[assignment]  # a name of the serializer itself
    allowed = serializers.ListField(
        child=serializers.ChoiceField(choices=Status.choices), required=False, help_text="With `illegal_transition`."
    )


class LineResult(serializers.Serializer):
    """`problem` for a line that was refused, else the three others."""

    number = serializers.CharField(allow_null=True)
    applied = serializers.BooleanField(required=False)
    status = serializers.ChoiceField(choices=Status.choices, required=False)
    version = serializers.IntegerField(required=False)
    problem = LineProblem(required=False)


class BatchResult(serializers.Serializer):
    applied = serializers.IntegerField()
    refused = serializers.IntegerField()
    results = LineResult(many=True, help_text="One for each line, in their order.")


class Notification(serializers.Serializer):
    type = serializers.ChoiceField(choices=["notification"])
    seq = serializers.IntegerField(min_value=1)
    kind = serializers.ChoiceField(choices=[kind.value for kind in Kind])
    at = serializers.DateTimeField()
    order = api.OrderSerializer(allow_null=True)
    note = serializers.CharField(allow_blank=True)


class Notifications(serializers.Serializer):
    user = serializers.CharField(help_text="Whose stream it is.")
    stream = serializers.CharField(help_text="The stream's id: a new one means that old numbers mean nothing.")
    head = serializers.IntegerField()
    unread = serializers.IntegerField()
    results = Notification(many=True)


class ReadMark(serializers.Serializer):
    up_to = serializers.IntegerField()
    unread = serializers.IntegerField()


class Unread(serializers.Serializer):
    unread = serializers.IntegerField()


class Ticket(serializers.Serializer):
    ticket = serializers.CharField(help_text="Works once, for 30 seconds.")
    expires_at = serializers.DateTimeField()


class Token(serializers.Serializer):
    id = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    current = serializers.BooleanField(help_text="Whether this request was made with it.")


class Tokens(serializers.Serializer):
    results = Token(many=True)


# Headers.


def _header(name: str, description: str, **kwargs: Any) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.STR, OpenApiParameter.HEADER, description=description, **kwargs)


IDEMPOTENCY_KEY = _header("Idempotency-Key", "The same answer again for 24 hours, and no change made twice.")
IF_MATCH = _header("If-Match", "The ETag that the order has to have, or several of which it has to have one.")
IF_NONE_MATCH = _header("If-None-Match", "The ETag that the caller has.")
LOCATION = _header("Location", "The new order.", response=[201])
NUMBER = OpenApiParameter("number", OpenApiTypes.STR, OpenApiParameter.PATH, description="The shop's own number.")


def _etag(*statuses: int) -> OpenApiParameter:
    return _header("ETag", "The order's version, in quotes.", response=list(statuses))


# The decorators.

list_orders = extend_schema(operation_id="list_orders", summary="Orders, newest first", parameters=[OrderQuery])
create_order = extend_schema(
    operation_id="create_order",
    summary="Create an order",
    request=api.NewOrderSerializer,
    responses={201: api.OrderSerializer},
    parameters=[IDEMPOTENCY_KEY, LOCATION, _etag(201)],
)
get_order = extend_schema(
    operation_id="get_order",
    summary="One order",
    parameters=[NUMBER, IF_NONE_MATCH, _etag(200, 304)],
    responses={200: api.OrderSerializer, 304: None},
)
update_order = extend_schema(
    operation_id="update_order",
    summary="Change an order, its status above all",
    description="An illegal step is a 409 with `allowed`. An update that is late (`occurred_at` before the order's "
    "`status_since`) changes nothing; of one that repeats the order's status the other fields are applied. Both are "
    "kept in the history, and `applied`, which tells of the status, is false.",
    request=api.OrderUpdateSerializer,
    parameters=[NUMBER, IDEMPOTENCY_KEY, IF_MATCH, _etag(200)],
    responses=ChangedOrder,
)
change_orders = extend_schema(
    operation_id="change_orders",
    summary="Change the statuses of up to 1,000 orders",
    description="Each line gets its own result, and one that is refused harms no other.",
    request=Batch,
    parameters=[IDEMPOTENCY_KEY],
    responses=BatchResult,
)
get_history = extend_schema(
    operation_id="get_history",
    summary="Every status change of an order, applied or not",
    parameters=[NUMBER],
    responses=StatusChange(many=True),
)
list_notifications = extend_schema(
    operation_id="list_notifications",
    summary="The caller's own stream",
    parameters=[api.NotificationQuery],
    responses=Notifications,
)
mark_read = extend_schema(
    operation_id="mark_read", summary="Mark as read", request=api.ReadSerializer, responses=ReadMark
)
count_unread = extend_schema(operation_id="count_unread", summary="How many are unread", responses=Unread)
issue_ticket = extend_schema(
    operation_id="issue_ticket",
    summary="A ticket that opens one socket",
    request=api.TicketSerializer,
    responses={201: Ticket},
)
list_tokens = extend_schema(operation_id="list_tokens", summary="The caller's own tokens", responses=Tokens)
revoke_token = extend_schema(
    operation_id="revoke_token",
    summary="Revoke one of the caller's own tokens",
    responses={204: None},
    parameters=[OpenApiParameter("token_key", OpenApiTypes.STR, OpenApiParameter.PATH, description="Its `id`.")],
)

#: What any operation may answer beside its own: refused, not to be had as the caller wants it, too often, not now.
EVERYWHERE = (400, 401, 403, 406, 429, 503)
#: `parsers.FORBIDDEN`, for a schema: surrogates cannot be written in one, and no UTF-8 text has them.
NO_CONTROL_CHARACTERS = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"
#: With a body: without a length, too large, not JSON.
WITH_BODY = (411, 413, 415)


def describe_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Give every operation the problems that follow from its shape; a postprocessing hook of drf-spectacular."""
    # Whoever tries calls from the page has a token; the cookie is sent by itself.
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
            "security": [{"token": []}, {"cookieAuth": []}],
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
