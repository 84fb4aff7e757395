"""Bearer tokens (RFC 6750) for REST framework, looked up by `notifications.access.credentials` as for the sockets."""

from __future__ import annotations

from typing import Any

from knox.models import AuthToken
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from notifications.access import credentials


class BearerAuthentication(BaseAuthentication):
    """`request.user` is the token's user, `request.auth` the token. Other schemes are left to other classes."""

    def authenticate(self, request: Request) -> tuple[Any, AuthToken] | None:
        scheme, _, token = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        found = credentials.find_token(token.strip().decode("latin-1"))
        if found is None:
            raise AuthenticationFailed("The token is unknown, expired or revoked.", code="invalid_token")
        return found.user, found

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"
