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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from notifications import users
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
    return find_tokens([token]).get(token)


def find_tokens(tokens: Sequence[str]) -> dict[str, AuthToken]:
    """`find_token` of many in one query, by the tokens as they were given; what is none is left out."""
    digests = {token: digest for token in tokens if (digest := digest_of(token)) is not None}
    if not digests:
        return {}
    from knox.models import AuthToken

    rows = AuthToken.objects.select_related("user").filter(digest__in=set(digests.values()))
    good = {row.digest: row for row in rows if row.user.is_active and not has_expired(row)}
    return {token: good[digest] for token, digest in digests.items() if digest in good}


def digest_of(token: str) -> str | None:
    """What a token is kept as; None for a text that is no token, and where there are none."""
    if not apps.is_installed("knox"):
        return None
    from knox.crypto import hash_token

    try:
        return str(hash_token(token))
    except (binascii.Error, ValueError):
        return None


def has_expired(token: AuthToken) -> bool:
    """Whether the token's time is over."""
    return token.expiry is not None and token.expiry <= timezone.now()


def from_tokens(tokens: Sequence[str]) -> list[Credential | None]:
    """The credential behind each of these Bearer tokens."""
    checked_at = timezone.now()
    found = find_tokens(tokens)
    return [of_token(found[token], checked_at) if token in found else None for token in tokens]


def of_token(token: AuthToken, checked_at: datetime) -> Credential:
    """The credential that a token is, found to be good at that time."""
    return Credential(token.user.pk, token.user.get_username(), token_key(token), token.expiry, checked_at)


def is_session_key(text: str) -> bool:
    """Whether Django may have made it. Cookies can be made to hold what a database cannot compare, NUL for one."""
    return re.fullmatch("[a-z0-9]+", text) is not None


def from_session(session_key: str) -> Credential | None:
    """The credential behind a session cookie."""
    return from_sessions([session_key])[0]


def from_sessions(session_keys: Sequence[str]) -> list[Credential | None]:
    """The credential behind each of these session cookies; a session must still match its user's password.

    It expires when the session does as it is saved now (its `expire_date`). Two queries for all of them, and no join:
    whose a session is stands in what is signed.
    """
    if not apps.is_installed("django.contrib.sessions"):
        return [None] * len(session_keys)
    from django.contrib.sessions.models import Session

    checked_at = timezone.now()
    keys = set(filter(is_session_key, session_keys))
    rows = Session.objects.filter(session_key__in=keys, expire_date__gt=checked_at) if keys else ()
    found = {row.session_key: row for row in rows}
    good = {
        key: Credential(user.pk, user.get_username(), session_key_of(key), found[key].expire_date, checked_at)
        for key, user in _users_of({key: row.get_decoded() for key, row in found.items()}).items()
    }
    return [good.get(session_key) for session_key in session_keys]


def _users_of(sessions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The active user of each session, by the sessions' keys, where what the session holds is good.

    What `auth.get_user` does, but for many, and without its writing: a session that was begun under an earlier
    SECRET_KEY would get another key there, of which a browser with a socket open never hears.
    """
    backends = {path: auth.load_backend(path) for path in settings.AUTHENTICATION_BACKENDS}
    # Back ends that find users as Django's own does are asked for none: one query brings the users of all sessions.
    plain = {path for path, backend in backends.items() if _finds_as_django(backend)}
    wanted: dict[str, tuple[str, UserKey]] = {}
    for key, session in sessions.items():
        path = session.get(auth.BACKEND_SESSION_KEY)
        if path in backends and auth.SESSION_KEY in session:
            with suppress(ValidationError):  # of a user model that was another's
                wanted[key] = (path, users.key(session[auth.SESSION_KEY]))
    known = auth.get_user_model()._default_manager.in_bulk({pk for path, pk in wanted.values() if path in plain})
    found: dict[str, Any] = {}
    for key, (path, pk) in wanted.items():
        backend: Any = backends[path]
        user = known.get(pk) if path in plain else backend.get_user(pk)
        if user is None or not user.is_active or (path in plain and not backend.user_can_authenticate(user)):
            continue
        if _matches_password(sessions[key], user):
            found[key] = user
    return found


def _finds_as_django(backend: Any) -> bool:
    return isinstance(backend, ModelBackend) and type(backend).get_user is ModelBackend.get_user


def _matches_password(session: Mapping[str, Any], user: Any) -> bool:
    """Whether the user's password is the one with which the session was begun; a model without one is not asked."""
    if not hasattr(user, "get_session_auth_hash"):
        return True
    held = session.get(auth.HASH_SESSION_KEY)
    if not held:
        return False
    return constant_time_compare(held, user.get_session_auth_hash()) or any(
        constant_time_compare(held, earlier) for earlier in user.get_session_auth_fallback_hash()
    )


def token_key(token: AuthToken) -> str:
    """What `Credential.key` is for a token."""
    return f"{TOKEN}{token.digest[:32]}"


def session_key_of(session_key: str) -> str:
    """What `Credential.key` is for a session."""
    return f"{SESSION}{hashlib.sha256(session_key.encode()).hexdigest()[:32]}"
