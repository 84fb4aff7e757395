"""Django's middlewares that only pages need, which a call of the API with a token passes by.

A call of the API that comes with a Bearer token has no session, no messages to show and no document to protect. The
middlewares for them look at it all the same, on the way in and on the way out, and each look is small; together they
take as long as the API takes to make its answer. So these are Django's own (and django-csp's) with one question more.

The token decides who calls, and nothing else does (`api.authentication`): one that is wrong is refused, also beside a
good session. A call without one, from a page of ours, goes the whole way.
"""

from __future__ import annotations

from typing import Any

from csp.middleware import CSPMiddleware
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponseBase

from api.problems import PREFIX

SCHEME = "bearer "


class PassedBy:
    """Put before a middleware's own class."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = (
            self.get_response(request) if has_token(request) else super().__call__(request)  # type: ignore[misc]
        )
        return response


def has_token(request: HttpRequest) -> bool:
    """Whether this is a call of the API with a Bearer token, good or not."""
    authorization = request.META.get("HTTP_AUTHORIZATION", "")
    return authorization[: len(SCHEME)].lower() == SCHEME and request.path_info.startswith(PREFIX)


class ContentSecurityPolicy(PassedBy, CSPMiddleware):
    """What a document may load."""


class Sessions(PassedBy, SessionMiddleware):
    """`request.session`."""


class Authentication(PassedBy, AuthenticationMiddleware):
    """`request.user` by the session."""


class Messages(PassedBy, MessageMiddleware):
    """What a page says once."""
