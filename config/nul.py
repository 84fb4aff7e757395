"""What nothing may be looked up by: NUL, which no text in PostgreSQL can have, and queries longer than any of ours."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse

from api import problems
from notifications.access import credentials

#: Characters of a query. The longest of ours are cursors, and the admin's memory of a filtered list; the admin's search
#: takes each word for a condition.
MAX_QUERY = 2_000


class NoNul:
    """Middleware, outside of the session's: no page has such an address, and no session has such a key.

    The API checks its bodies and queries itself, and names what is wrong in them.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if len(request.META["QUERY_STRING"]) > MAX_QUERY:
            return HttpResponse(status=HTTPStatus.REQUEST_URI_TOO_LONG)
        if "\0" in request.path_info:
            raise Http404
        if "%00" in request.META["QUERY_STRING"] and not problems.answers(request):
            raise BadRequest("The query has a NUL.")
        key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
        if key is not None and not credentials.is_session_key(key):
            del request.COOKIES[settings.SESSION_COOKIE_NAME]
        return self.get_response(request)
