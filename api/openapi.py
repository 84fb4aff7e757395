"""What drf-spectacular cannot read off views and serializers: hooks over the finished OpenAPI 3.1 document.

`config.openapi` names them, in their order. They add what follows from an operation's shape, such as the problems that
it may answer; what only one operation does stands at its view.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from notifications.problems import RETRIED
from notifications.sockets.connection import MAX_DIGITS

Described = dict[str, Any]

#: What any operation may answer beside its own: refused, not to be had as the caller wants it, too often, not now.
EVERYWHERE = (400, 401, 403, 406, 414, 429, 500, 503)
#: With a body: too slow, too large, not JSON or compressed.
WITH_BODY = (408, 413, 415)
#: Whose caller may mean themselves, and then has nothing to say.
MAY_HAVE_NO_BODY = frozenset({"issue_ticket"})
#: `parsers.FORBIDDEN`, for a schema: surrogates cannot be written in one, and no UTF-8 text has them.
NO_CONTROL_CHARACTERS = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"

#: When each status is the answer.
WHEN = {
    400: "The request cannot be understood, or has fields that cannot be accepted: `errors` names each.",
    401: "No credential, or one that is unknown, expired or revoked.",
    403: "The caller may not do this.",
    404: "There is no such thing, or it is somebody else's.",
    406: "The API answers with JSON only.",
    408: "The body did not come in time.",
    409: "It cannot be done as things are now: `code` says why.",
    412: "The order is not at a version that `If-Match` names. `ETag` is the one that it has.",
    413: "The body is too long.",
    414: "The query is too long.",
    415: "The body is no JSON, or it is compressed.",
    422: "The `Idempotency-Key` belongs to another request, or the `client_id` to another message.",
    429: "Too many requests.",
    500: "An error of ours. It was logged with the request's id.",
    503: "The service cannot answer now.",
}


def _header(description: str, kind: str = "string") -> Described:
    return {"description": description, "schema": {"type": kind}}


RETRY_AFTER = {"Retry-After": _header("Seconds to wait.", "integer")}
RATE_LIMIT = {
    "RateLimit-Policy": _header("How many requests in how many seconds."),
    "RateLimit": _header("How many are left, and the seconds until they begin anew."),
}
#: Headers that come with a status, beside those of `RETRIED`.
HEADERS: dict[int, Described] = {
    401: {"WWW-Authenticate": _header("The scheme of the credential that is missing.")},
    412: {"ETag": _header("The order's version, in quotes.")},
    415: {"Accept-Encoding": _header("With a compressed body: that none is taken.")},
    429: RATE_LIMIT,
}


def describe_nulls(result: Described, **_: Any) -> Described:
    """Write out drf-spectacular's component for null, of which generated clients make a class of its own."""
    schemas = result["components"]["schemas"]
    if (null := schemas.pop("NullEnum", None)) is not None:
        for schema in schemas.values():
            for described in schema.get("properties", {}).values():
                for number, choice in enumerate(described.get("oneOf", ())):
                    if choice.get("$ref") == "#/components/schemas/NullEnum":
                        described["oneOf"][number] = dict(null)
    return result


def describe_stream(result: Described, **_: Any) -> Described:
    """Add `/api/v1/stream`, which is `notifications.sockets.streaming` and no view."""
    text = {"type": "string"}
    after = {"type": "integer", "minimum": 0, "maximum": 10**MAX_DIGITS - 1}
    remembered = {"type": "string", "pattern": f"^[0-9]{{0,{MAX_DIGITS}}}$"}
    description = (
        "Server-sent events, without an end. The `data` of every event is a frame of the socket, on one line: "
        "`/asyncapi.yaml` describes them. A last event whose frame is of type `close` says why the stream ends and, by "
        "`retry`, when to come back."
    )
    # OpenAPI 3.1 has no word for the items of a stream: as tools read it, this is each event (WHATWG HTML, 9.2.6).
    event = {
        "type": "object",
        "required": ["data"],
        "properties": {
            "data": {**text, "contentMediaType": "application/json", "description": "A frame."},
            "id": {**text, "pattern": "^[0-9]+$", "description": "Go on from here, by `Last-Event-ID`."},
            "retry": {"type": "integer", "description": "Milliseconds after which to come back."},
        },
    }
    parameters = [
        ("query", "after", "Go on after this number.", after),
        ("query", "stream", "The stream of `after`.", text),
        ("header", "Last-Event-ID", "As `after`, and before it; empty is none.", remembered),
    ]
    result["paths"]["/api/v1/stream"] = {
        "get": {
            "operationId": "follow_stream",
            "summary": "The caller's own stream, live",
            "description": description,
            "tags": ["notifications"],
            "security": [{"streamToken": []}, {"cookieAuth": []}],
            "parameters": [
                {"in": place, "name": name, "description": told, "schema": schema}
                for place, name, told, schema in parameters
            ],
            "responses": {
                "200": {"description": "The events.", "content": {"text/event-stream": {"schema": event}}},
            },
        }
    }
    return result


def describe_answers(result: Described, **_: Any) -> Described:
    """Give every operation the problems that follow from its shape, and say which answers are good ones."""
    components = result["components"]
    # A person who tries calls from the page has a token; the cookie is sent by itself.
    schemes = components["securitySchemes"]
    components["securitySchemes"] = dict(sorted(schemes.items(), key=lambda scheme: scheme[0] != "token"))
    components["schemas"]["Problem"] = _problem(components["schemas"])
    components["responses"] = {f"Problem{status}": _answer(status) for status in sorted(WHEN)}
    for path, operations in result["paths"].items():
        for operation in operations.values():
            operation.setdefault("security", [])  # an operation that needs no credential says so
            answers = operation["responses"]
            for status, answer in answers.items():
                answer["description"] = answer["description"] or HTTPStatus(int(status)).phrase
            for status in _statuses(path, operation):
                answers.setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})
            operation["responses"] = dict(sorted(answers.items()))
    return result


def describe_bodies(result: Described, **_: Any) -> Described:
    """Say of every body what `StrictSerializer` and `StrictJSONParser` refuse, and which operation needs one."""
    schemas = result["components"]["schemas"]
    for name, schema in schemas.items():
        if name.endswith("Request"):
            schema["additionalProperties"] = False
            for described in schema.get("properties", {}).values():
                if "string" in described.get("type", ()) and not described.keys() & {"enum", "format", "pattern"}:
                    described["pattern"] = NO_CONTROL_CHARACTERS
    # Either the one or the other, and not both.
    schemas["BatchRequest"]["oneOf"] = [{"required": ["changes"]}, {"required": ["orders"]}]
    for operations in result["paths"].values():
        for operation in operations.values():
            # To send none is a mistake, also where no single field is required.
            if "requestBody" in operation and operation["operationId"] not in MAY_HAVE_NO_BODY:
                operation["requestBody"]["required"] = True
    return result


def _statuses(path: str, operation: Described) -> set[int]:
    headers = {parameter["name"] for parameter in operation.get("parameters", ())}
    return {
        *EVERYWHERE,
        *(WITH_BODY if "requestBody" in operation else ()),
        *((404,) if "{" in path else ()),
        *((409, 422) if "Idempotency-Key" in headers else ()),
        *((412,) if "If-Match" in headers else ()),
        # One id of the client's for two messages.
        *((422,) if operation["operationId"] == "write_message" else ()),
    }


def _answer(status: int) -> Described:
    headers = {**(RETRY_AFTER if HTTPStatus(status) in RETRIED else {}), **HEADERS.get(status, {})}
    return {
        "description": WHEN[status],
        **({"headers": headers} if headers else {}),
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _problem(schemas: Described) -> Described:
    """`LineProblem`, which the document has by way of the batch, with the id of the request."""
    line = schemas["LineProblem"]
    return {
        **line,
        "description": "An error (RFC 9457).",
        "properties": {**line["properties"], "request_id": {"type": "string"}},
        "required": [*line["required"], "request_id"],
    }
