"""Django's answer to an exception that nothing else has answered, for the API and the pages alike."""

from __future__ import annotations

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views import defaults

from api import problems


def server_error(request: HttpRequest) -> HttpResponse:
    """`handler500`. A database that is away, noticed outside of a view, is a 503 and not an error of ours."""
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        return problems.database_unavailable()
    return defaults.server_error(request)
