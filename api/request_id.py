"""One id for each request: taken from `X-Request-ID` or made here, given back, written into every log line and problem.

`RequestId` is the outermost middleware; `RequestIdFilter` stands in `LOGGING`; `problems` asks `current`.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse
from django.utils.encoding import escape_uri_path

logger = logging.getLogger(__name__)

#: What is taken from a caller: enough for a UUID or a trace id, and nothing that could forge a log line.
USABLE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def current() -> str | None:
    """The id of the request that this thread is at, or None outside of one."""
    return _current.get()


class RequestId:
    """Middleware: an id that is not usable is replaced, never refused, since a proxy may have set it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if USABLE.fullmatch(given) else uuid.uuid4().hex
        token = _current.set(request_id)
        try:
            response = self.get_response(request)
            if request.path.startswith("/api/"):
                # The access log has neither the id nor what Django made of the path. No query: it may hold secrets.
                path = escape_uri_path(request.path)
                logger.info("%s %s %s", request.method, path, response.status_code)
        finally:
            _current.reset(token)
        response["X-Request-ID"] = request_id
        return response


class RequestIdFilter(logging.Filter):
    """Gives each record a `request_id`; "-" outside of requests, as access logs have it for what is not known."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current() or "-"
        return True
