"""An error over HTTP, as `application/problem+json` (RFC 9457): the one place where its members are put together.

`send_problem` answers on the event loop; an API on top of the engine builds the answers of its views on `problem`.
Which error is which status, and what its code is called, is the caller's to say. The application that serves the engine
sets `request_id`; without it the member of that name is null.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any, TypedDict

CONTENT_TYPE = "application/problem+json"

#: The id of the request that is being answered: in its task of asyncio, and in the thread that answers for it.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

#: Answers after which the same request may succeed. Each carries Retry-After (RFC 9110, 10.2.3; RFC 6585, 4).
RETRIED = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
#: Seconds, where the caller of this module knows no better. A restart takes a few, and a client that comes back a
#: little early loses nothing.
RETRY_SECONDS = 1


class FieldError(TypedDict):
    """What is wrong with one field: a JSON pointer (RFC 6901) to it, a code for machines, a sentence for people."""

    pointer: str
    code: str
    detail: str


def members(
    status: HTTPStatus, *, code: str, detail: str, errors: Sequence[FieldError] = (), **extra: Any
) -> dict[str, Any]:
    """The members of an error that is part of a larger answer; `extra` are members of its own (RFC 9457, 3.2)."""
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
        "errors": list(errors),
        **extra,
    }


def problem(
    status: HTTPStatus, *, code: str, detail: str, errors: Sequence[FieldError] = (), **extra: Any
) -> dict[str, Any]:
    """The body of an answer: `members`, and the id of the request."""
    return {**members(status, code=code, detail=detail, errors=errors, **extra), "request_id": request_id.get()}


def with_retry(status: HTTPStatus, headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers of such an answer: those given, and Retry-After where the same request may succeed later."""
    found = dict(headers or {})
    if status in RETRIED and not any(name.lower() == "retry-after" for name in found):
        found["Retry-After"] = str(RETRY_SECONDS)
    return found


async def send_problem(
    send: Callable[[dict[str, Any]], Awaitable[None]],
    status: HTTPStatus,
    *,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Answer a request on the event loop (ASGI); `headers` are further ones, such as Allow or `Connection: close`."""
    body = json.dumps(problem(status, code=code, detail=detail)).encode()
    sent = {"Content-Type": CONTENT_TYPE, "Content-Length": str(len(body)), **with_retry(status, headers)}
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": status.value, "headers": raw})
    await send({"type": "http.response.body", "body": body})
