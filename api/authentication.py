"""Bearer tokens (RFC 6750) for REST framework, looked up in `notifications.access` as for the sockets."""

from __future__ import annotations

from typing import Any

from knox.models import AuthToken
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from notifications.access import credentials, memory, tickets
from notifications.access.models import Ticket


class BearerAuthentication(BaseAuthentication):
    """`request.user` is the token's user, `request.auth` the token. Other schemes are left to other classes.

    Both, and the user's permissions, may be a second old (`notifications.access.memory`).
    """

    def find(self, token: str) -> AuthToken | Ticket | None:
        """What the token stands for, with its active user."""
        return memory.find_token(token)

    def authenticate(self, request: Request) -> tuple[Any, AuthToken | Ticket] | None:
        scheme, _, token = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        found = self.find(token.strip().decode("latin-1"))
        if found is None:
            raise AuthenticationFailed("The token is unknown, expired or revoked.", code="invalid_token")
        return found.user, found

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class FreshAuthentication(BearerAuthentication):
    """Asks the database each time, for what makes credentials: a token that has ended must not leave a new one."""

    def find(self, token: str) -> AuthToken | Ticket | None:
        return credentials.find_token(token)


class StreamAuthentication(FreshAuthentication):
    """Takes stream tokens too, for the views of the caller's own stream: then `request.auth` is the used ticket.

    Nothing is remembered, since a stream is asked for seldom, and by many.
    """

    def find(self, token: str) -> AuthToken | Ticket | None:
        return tickets.find_exchanged(token) or super().find(token)
