"""Which problem (RFC 9457) each error of the API is; how a problem is put together is `notifications.problems`'.

REST framework calls `handle` for every exception of a view. `ApiErrors` is the middleware that turns what was refused
before or beside a view (no such route, a host that is not ours, an error of ours) into a problem too. A rule of the
business keeps the code that its exception has in `orders.services`.

The pointers in `errors[]` are into the body or, where query parameters are wrong, into the query as if it were an
object.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any, NotRequired, TypedDict

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import reverse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from api import etags, throttling
from api.parsers import MAX_POINTER, step
from notifications import problems
from notifications.problems import CONTENT_TYPE, FieldError
from orders import bulk, conversation, numbers, services, upsert
from orders.models import Order

logger = logging.getLogger(__name__)

#: Everything below it answers with problems.
PREFIX = "/api"

#: Which answer a broken rule is.
STATUS_OF_RULE: dict[type[services.OrderError], HTTPStatus] = {
    services.NumberTaken: HTTPStatus.CONFLICT,
    services.CustomerExists: HTTPStatus.CONFLICT,
    services.IllegalTransition: HTTPStatus.CONFLICT,
    services.NoteRequired: HTTPStatus.BAD_REQUEST,
    services.OccurredInFuture: HTTPStatus.BAD_REQUEST,
    services.VersionMismatch: HTTPStatus.PRECONDITION_FAILED,
    bulk.OrderUnknown: HTTPStatus.NOT_FOUND,
    upsert.NotPermitted: HTTPStatus.FORBIDDEN,
    upsert.NothingToMatch: HTTPStatus.PRECONDITION_FAILED,
    upsert.CustomerNeeded: HTTPStatus.BAD_REQUEST,
    upsert.CustomerDiffers: HTTPStatus.CONFLICT,
    upsert.NumberRepeated: HTTPStatus.BAD_REQUEST,
    conversation.BadMessage: HTTPStatus.BAD_REQUEST,
    conversation.ClientIdReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    conversation.TooManyMessages: HTTPStatus.TOO_MANY_REQUESTS,
}
#: Errors that one problem tells of, and characters of what it repeats: whoever sends a megabyte of mistakes is told of
#: the first ones, and not sent ten megabytes.
MAX_ERRORS = 50
MAX_DETAIL = 300
#: The field that a rule is about.
POINTER_OF_RULE: dict[type[services.OrderError], str] = {
    services.NumberTaken: "/number",
    services.CustomerExists: "/customer",
    services.IllegalTransition: "/status",
    services.NoteRequired: "/note",
    services.OccurredInFuture: "/occurred_at",
    bulk.OrderUnknown: "/number",
    upsert.CustomerNeeded: "/customer",
    upsert.CustomerDiffers: "/customer",
    upsert.NumberRepeated: "/number",
    conversation.BadMessage: "/text",
    conversation.ClientIdReused: "/client_id",
}


def handle(error: Exception, _context: dict[str, Any]) -> Response | None:
    """The problem that answers an exception; None lets it go on as a server error."""
    set_rollback()
    if isinstance(error, Http404 | Order.DoesNotExist):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    elif isinstance(error, OperationalError | InterfaceError):
        logger.warning("The database does not answer: %s", error)
        error = DatabaseUnavailable()

    if isinstance(error, services.OrderError):
        return problem(**of_rule(error), headers=_headers(error))
    if isinstance(error, exceptions.ValidationError):
        return problem(
            HTTPStatus.BAD_REQUEST,
            code="invalid",
            detail="The request has fields that cannot be accepted.",
            errors=pointers(error.get_full_details()),
        )
    if isinstance(error, exceptions.APIException):
        return problem(
            HTTPStatus(error.status_code),
            code=str(getattr(error.detail, "code", error.default_code)),
            detail=str(error.detail)[:MAX_DETAIL],
            errors=getattr(error, "errors", []),
            headers=_headers(error),
        )
    return None


class DatabaseUnavailable(exceptions.APIException):
    """The database is away, or gave up on a transaction. Nobody can say here whether a change was committed."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_code = "database_unavailable"
    default_detail = "The database does not answer. Try again, with the same Idempotency-Key if you sent one."


class Rule(TypedDict):
    """The arguments of `problem` for a rule of the business that was broken."""

    status: HTTPStatus
    code: str
    detail: str
    errors: list[FieldError]
    allowed: NotRequired[list[str]]
    customer: NotRequired[str]
    order: NotRequired[str]
    version: NotRequired[int]


def of_rule(error: services.OrderError, *, at: str = "") -> Rule:
    """The problem with a rule of the business that the fields below the pointer `at` break."""
    pointer = POINTER_OF_RULE.get(type(error))
    errors: list[FieldError] = []
    if pointer is not None:
        errors = [{"pointer": at + pointer, "code": error.code, "detail": str(error)}]
    found: Rule = {"status": STATUS_OF_RULE[type(error)], "code": error.code, "detail": str(error), "errors": errors}
    if isinstance(error, services.IllegalTransition):
        found["allowed"] = error.allowed
    if isinstance(error, services.CustomerExists):
        found["customer"] = error.existing
    if isinstance(error, services.NumberTaken) and error.order is not None:
        found["order"] = address_of(error.order.number)
        found["version"] = error.order.version
    return found


def address_of(number: str) -> str:
    """The path of the order with this number."""
    return f"{reverse('order-list')}/{numbers.in_path(number)}"


def problem(
    status: HTTPStatus,
    *,
    code: str,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: dict[str, str] | None = None,
    **extra: Any,
) -> Response:
    """A problem as a view's answer."""
    return Response(
        problems.problem(status, code=code, detail=detail, errors=errors, **extra),
        status=status.value,
        headers=problems.with_retry(status, headers),
        content_type=CONTENT_TYPE,
    )


def plain(status: HTTPStatus, *, code: str, detail: str, headers: dict[str, str] | None = None) -> JsonResponse:
    """A problem where no view of REST framework is in charge."""
    response = JsonResponse(
        problems.problem(status, code=code, detail=detail),
        status=status.value,
        headers=problems.with_retry(status, headers),
        content_type=CONTENT_TYPE,
    )
    # The middleware that would do this is passed by.
    response.headers["Content-Length"] = str(len(response.content))
    return response


def database_unavailable() -> JsonResponse:
    """`DatabaseUnavailable` where no view of REST framework is in charge, for the pages too."""
    error = DatabaseUnavailable
    return plain(HTTPStatus(error.status_code), code=error.default_code, detail=error.default_detail)


def answers(request: HttpRequest) -> bool:
    """Whether the address is the API's."""
    return f"{request.path_info}/".startswith(f"{PREFIX}/")


#: What an answer says that has its status alone, where the status does not say it.
DETAILS = {
    HTTPStatus.BAD_REQUEST: "The request cannot be understood.",
    HTTPStatus.NOT_FOUND: "There is nothing at this address.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something went wrong here, and was logged with the request's id.",
}


def of_status(request: HttpRequest, status: HTTPStatus, headers: dict[str, str] | None = None) -> JsonResponse:
    """The problem where all that is known is the status."""
    detail = DETAILS.get(status, status.description or status.phrase)
    if status is HTTPStatus.NOT_FOUND and request.path_info.endswith("/"):
        detail += " Addresses of the API have no slash at their end."
    return plain(status, code=status.name.lower(), detail=detail, headers=headers)


class ApiErrors:
    """Middleware, outside of all others but those that log and count.

    Below `PREFIX` every error is a problem, in DEBUG too.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not answers(request):
            return self.get_response(request)
        response = self._problem(request, self.get_response(request))
        throttling.add_headers(request, response)
        # Answers are one caller's own; with an ETag they may be kept, and have to be asked for again.
        response.headers.setdefault("Cache-Control", "private, no-cache")
        return response

    def _problem(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if response.status_code < HTTPStatus.BAD_REQUEST or response.headers.get("Content-Type") == CONTENT_TYPE:
            return response
        kept = {name: value for name, value in response.items() if not name.lower().startswith("content-")}
        return of_status(request, HTTPStatus(response.status_code), kept)


def _headers(error: Exception) -> dict[str, str]:
    headers: dict[str, str] = dict(getattr(error, "headers", {}))
    if isinstance(error, services.VersionMismatch) and error.version is not None:
        headers["ETag"] = etags.of_version(error.version)
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if (wait := getattr(error, "wait", None)) is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
    return headers


def pointers(details: Any, pointer: str = "") -> list[FieldError]:
    """REST framework's nested error details, flattened: the first `MAX_ERRORS`, each cut to what can be read."""
    return list(islice(_pointers(details, pointer), MAX_ERRORS))


def _pointers(details: Any, pointer: str) -> Iterator[FieldError]:
    if isinstance(details, dict) and details.keys() == {"message", "code"} and isinstance(details["code"], str):
        detail = str(details["message"])[:MAX_DETAIL]
        yield {"pointer": pointer[:MAX_POINTER], "code": str(details["code"]), "detail": detail}
    elif isinstance(details, dict):
        for name, inner in details.items():
            yield from _pointers(inner, pointer if name == "non_field_errors" else pointer + step(str(name)))
    elif isinstance(details, list):
        for inner in details:  # several complaints about one value: items of lists come as dictionaries by index
            yield from _pointers(inner, pointer)
