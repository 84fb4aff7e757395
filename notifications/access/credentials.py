"""Who is this? Bearer tokens and sessions, for sockets and for the HTTP API alike.

Tokens are django-rest-knox's: random, hashed at rest (SHA-512 is enough for 256 random bits), with an expiry. They are
looked up by their hash, which is the primary key: one query. Knox's own authentication also reads all other tokens of
the user, at every request, to delete those that have expired; a task does that here.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import auth
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.utils import timezone
from knox.crypto import hash_token
from knox.models import AuthToken

#: How the keys of sessions and of tokens begin.
SESSION = "session:"
TOKEN = "token:"  # noqa: S105 -- a prefix


@dataclass(frozen=True, slots=True)
class Credential:
    """Somebody who has proved, at `checked_at`, who they are.

    `key` names the proof, so that it can be revoked, and reveals nothing of it. `expires_at` None: it does not expire.
    """

    user_id: int
    username: str
    key: str
    expires_at: datetime | None
    checked_at: datetime


def find_token(token: str) -> AuthToken | None:
    """The token with its active user, or None if it is unknown, expired, or the user is no longer active."""
    try:
        digest = hash_token(token)
    except (binascii.Error, ValueError):  # not hexadecimal, so none of ours
        return None
    found: AuthToken | None = AuthToken.objects.select_related("user").filter(digest=digest).first()
    if found is None or not found.user.is_active or (found.expiry is not None and found.expiry <= timezone.now()):
        return None
    return found


def from_token(token: str) -> Credential | None:
    """The credential behind a Bearer token."""
    checked_at = timezone.now()
    found = find_token(token)
    if found is None:
        return None
    return Credential(found.user.pk, found.user.get_username(), token_key(found), found.expiry, checked_at)


def is_session_key(text: str) -> bool:
    """Whether Django may have made it. Cookies can be made to hold what a database cannot compare, NUL for one."""
    return re.fullmatch("[a-z0-9]+", text) is not None


def from_session(session_key: str) -> Credential | None:
    """The credential behind a session cookie; the session must still match the user's password."""
    if not is_session_key(session_key):
        return None
    checked_at = timezone.now()
    request: Any = HttpRequest()
    request.session = SessionStore(session_key)
    user = auth.get_user(request)
    if not user.is_authenticated or not user.is_active:
        return None
    expires_at = request.session.get_expiry_date()
    return Credential(user.pk, user.get_username(), session_key_of(session_key), expires_at, checked_at)


def token_key(token: AuthToken) -> str:
    """What `Credential.key` is for a token."""
    return f"{TOKEN}{token.digest[:32]}"


def session_key_of(session_key: str) -> str:
    """What `Credential.key` is for a session."""
    return f"{SESSION}{hashlib.sha256(session_key.encode()).hexdigest()[:32]}"
