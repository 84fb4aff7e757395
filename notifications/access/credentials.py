"""Who is this? Bearer tokens and sessions, for sockets and for the HTTP API alike.

Tokens are django-rest-knox's, where the project has installed it; otherwise there are none. They are random, hashed at
rest (SHA-512 is enough for 256 random bits), with an expiry. They are looked up by their hash, which is the primary
key: one query. Knox's own authentication also reads all other tokens of the user, at every request, to delete those
that have expired; a task does that here.

Sessions are Django's in the database (its engines `db` and `cached_db`): the row that is deleted says that one ends.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib import auth
from django.http import HttpRequest
from django.utils import timezone

from notifications.users import UserKey

if TYPE_CHECKING:
    from knox.models import AuthToken

#: How the keys of sessions, of tokens, and of what a ticket opened begin.
SESSION = "session:"
TOKEN = "token:"  # noqa: S105 -- a prefix
TICKET = "ticket:"


@dataclass(frozen=True, slots=True)
class Credential:
    """Somebody who has proved, at `checked_at`, who they are.

    `key` names the proof, so that it can be revoked, and reveals nothing of it. `expires_at` None: it does not expire.
    """

    user_id: UserKey
    username: str
    key: str
    expires_at: datetime | None
    checked_at: datetime


def find_token(token: str) -> AuthToken | None:
    """The token with its active user, or None if it is unknown, expired, or the user is no longer active."""
    digest = digest_of(token)
    if digest is None:
        return None
    from knox.models import AuthToken

    found: AuthToken | None = AuthToken.objects.select_related("user").filter(digest=digest).first()
    if found is None or not found.user.is_active or has_expired(found):
        return None
    return found


def digest_of(token: str) -> str | None:
    """What a token is kept as; None for a text that is no token, and where there are none."""
    if not apps.is_installed("knox"):
        return None
    from knox.crypto import hash_token

    try:
        digest: str = hash_token(token)
    except (binascii.Error, ValueError):
        return None
    return digest


def has_expired(token: AuthToken) -> bool:
    """Whether the token's time is over."""
    return token.expiry is not None and token.expiry <= timezone.now()


def from_token(token: str) -> Credential | None:
    """The credential behind a Bearer token."""
    checked_at = timezone.now()
    found = find_token(token)
    return None if found is None else of_token(found, checked_at)


def of_token(token: AuthToken, checked_at: datetime) -> Credential:
    """The credential that a token is, found to be good at that time."""
    return Credential(token.user.pk, token.user.get_username(), token_key(token), token.expiry, checked_at)


class ReadSession(dict[str, Any]):
    """A session as `auth.get_user` asks for one, of which nothing is written back: a handshake changes no session."""

    def flush(self) -> None:
        self.clear()

    def cycle_key(self) -> None:
        """It would give the browser's session another key, of which a browser with a socket open never hears."""


def is_session_key(text: str) -> bool:
    """Whether Django may have made it. Cookies can be made to hold what a database cannot compare, NUL for one."""
    return re.fullmatch("[a-z0-9]+", text) is not None


def from_session(session_key: str) -> Credential | None:
    """The credential behind a session cookie; the session must still match the user's password.

    It expires when the session does as it is saved now (its `expire_date`).
    """
    if not is_session_key(session_key) or not apps.is_installed("django.contrib.sessions"):
        return None
    from django.contrib.sessions.models import Session

    checked_at = timezone.now()
    found = Session.objects.filter(session_key=session_key, expire_date__gt=checked_at).first()
    if found is None:
        return None
    request: Any = HttpRequest()
    request.session = ReadSession(found.get_decoded())
    user = auth.get_user(request)
    if not user.is_authenticated or not user.is_active:
        return None
    return Credential(user.pk, user.get_username(), session_key_of(session_key), found.expire_date, checked_at)


def token_key(token: AuthToken) -> str:
    """What `Credential.key` is for a token."""
    return f"{TOKEN}{token.digest[:32]}"


def session_key_of(session_key: str) -> str:
    """What `Credential.key` is for a session."""
    return f"{SESSION}{hashlib.sha256(session_key.encode()).hexdigest()[:32]}"
