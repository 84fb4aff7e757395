"""Django's answers to what nothing else has answered, for the API and the pages alike.

The pages' own need the static files. The API's must not: a deployment that has collected none yet is asked by systems.
"""

from __future__ import annotations

import sys
from http import HTTPStatus

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views import defaults

from api import problems


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler404`."""
    if problems.answers(request):
        return problems.of_status(request, HTTPStatus.NOT_FOUND)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """`handler500`. A database that is away, noticed outside of a view, is a 503 and not an error of ours."""
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        return problems.database_unavailable()
    if problems.answers(request):
        return problems.of_status(request, HTTPStatus.INTERNAL_SERVER_ERROR)
    return defaults.server_error(request)
