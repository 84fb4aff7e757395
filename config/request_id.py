"""One id for each HTTP request: the caller's `X-Request-ID` or one made here, in every answer, log line and problem.

`Identified` is the outermost ASGI application, so that probes, streams and refused bodies have an id too. The id goes
into the request's headers, and into the context that `notifications.problems` reads; threads run Django in a copy of
that context. `CallLog` is Django's outermost middleware but for /metrics, and `RequestIdFilter` stands in `LOGGING`.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.encoding import escape_uri_path

from notifications.problems import request_id

logger = logging.getLogger(__name__)

HEADER = "X-Request-ID"
#: The header's name as ASGI has it.
RAW = b"x-request-id"
#: What is taken from a caller: enough for a UUID or a trace id, and nothing that could forge a log line.
USABLE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def usable(given: str) -> str:
    """The caller's id. One that is not usable is replaced and never refused, since a proxy may have set it."""
    return given if USABLE.fullmatch(given) else uuid.uuid4().hex


class Identified:
    """ASGI middleware around everything that answers HTTP."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        given = [value for name, value in scope["headers"] if name == RAW]
        # Two ids are none: nobody could say which of them a proxy has logged.
        known = usable(given[0].decode("latin-1") if len(given) == 1 else "")
        others = [(name, value) for name, value in scope["headers"] if name != RAW]

        async def identified(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and all(name != RAW for name, _ in message["headers"]):
                message = {**message, "headers": [*message["headers"], (RAW, known.encode())]}
            await send(message)

        token = request_id.set(known)
        try:
            await self.inner({**scope, "headers": [*others, (RAW, known.encode())]}, receive, identified)
        finally:
            request_id.reset(token)


class CallLog:
    """Django middleware: one line of the log for each call of the API, with the name of the token if it has one.

    Django served without `Identified`, as by its test client, gets the request's id here.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        from api import tokens  # whose models are not there yet when the log's filter below is made

        self.get_response = get_response
        self.name_of = tokens.name_of

    def __call__(self, request: HttpRequest) -> HttpResponse:
        known = usable(request.headers.get(HEADER, ""))
        token = request_id.set(known)
        try:
            response = self.get_response(request)
            if request.path.startswith("/api/"):
                # The access log has neither the id nor what Django made of the path. No query: it may hold secrets.
                path = escape_uri_path(request.path)
                name = self.name_of(getattr(request, "auth", None))
                by = f" by {name!r}" if name else ""
                logger.info("%s %s %s%s", request.method, path, response.status_code, by)
        finally:
            request_id.reset(token)
        response[HEADER] = known
        return response


class RequestIdFilter(logging.Filter):
    """Gives each record a `request_id`; "-" outside of requests, as access logs have it for what is not known."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get() or "-"
        return True
