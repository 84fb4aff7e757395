"""Who calls, and what they may: asked of the database once a second for each token, and remembered meanwhile.

A back end sends a hundred requests a second with one token. To look up the token, its user and the user's
permissions takes three statements, which cost more than the rest of such a request. The answer is the same each time,
until somebody takes a right away. Hence one rule:

    What is remembered is `SECONDS` old at most, counted from before the database was asked. It is forgotten at once
    when this process hears of a change.

The first half needs nobody's help. Whatever took the right away (the admin in another process, a command,
`QuerySet.update()`, SQL by hand, a restored backup), no request that begins more than a second later is let in by it.
Nothing has to be announced, so nothing can be missed; and while the database does not answer, nobody is let in for
longer than that. The second half is a courtesy: this process's own changes are seen by its very next request.

The API's authentication calls `find_token`. What makes something that lasts (a socket, a ticket) does not: it asks
`credentials`, since a revocation would not find what is made after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.apps import apps
from django.conf import settings
from django.db import connection, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save

from notifications.access import credentials

if TYPE_CHECKING:
    from knox.models import AuthToken

T = TypeVar("T")

#: How old an answer may be, in seconds: as late as a notification may be whose hint was lost, and no later. With 100
#: requests a second of one token it saves 99 of 100 questions; a longer time would save next to nothing more.
SECONDS = 1.0
#: Answers that are kept. A process serves fewer requests in a second, so that one for each of them has room. With some
#: 5 KiB each that is 5 MiB at most.
SIZE = 1_000


def _seconds() -> float:
    """Seconds that also pass while the machine sleeps, where the system counts such ones (Linux)."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Memory(Generic[T]):
    """Answers of the database by what was asked. Thread-safe; `seconds` is a clock that never goes back."""

    def __init__(self, *, seconds: Callable[[], float] = _seconds, size: int = SIZE) -> None:
        self._seconds = seconds
        self._size = size
        self._lock = threading.Lock()
        #: When each was asked, and the answer; the oldest first.
        self._answers: dict[str, tuple[float, T]] = {}
        #: How often all was forgotten.
        self._forgotten = 0

    def ask(self, key: str, question: Callable[[], T | None]) -> T | None:
        """The remembered answer, or the one that the question has now. None, "there is no such thing", is not kept.

        In a transaction the question is always asked, and its answer not kept: it may never be committed.
        """
        if connection.in_atomic_block:
            return question()
        asked_at = self._seconds()
        known = self._answers.get(key)
        if known is not None and asked_at < known[0] + SECONDS:
            return known[1]
        forgotten = self._forgotten
        answer = question()
        with self._lock:
            self._answers.pop(key, None)
            # Otherwise something has changed while the database was asked, and this may be how it was before.
            if answer is not None and forgotten == self._forgotten:
                self._answers[key] = asked_at, answer
                if len(self._answers) > self._size:
                    del self._answers[next(iter(self._answers))]
        return answer

    def forget(self) -> None:
        """Forget everything. Rights change seldom: to find out whose they were is not worth a line."""
        with self._lock:
            self._answers.clear()
            self._forgotten += 1

    def __len__(self) -> int:
        return len(self._answers)


_tokens: Memory[AuthToken] = Memory()


def find_token(token: str) -> AuthToken | None:
    """As `credentials.find_token`, remembered, and the user with all permissions.

    Token and user are the caller's own copies. Of what was remembered, the expiry is looked at each time.
    """
    digest = credentials.digest_of(token)
    found = None if digest is None else _tokens.ask(digest, partial(_ask, token))
    if found is None or credentials.has_expired(found):
        return None
    mine = _copy(found)
    mine.user = _copy(found.user)
    return mine


def _copy(row: Any) -> Any:
    """As `copy.copy`, which goes the way of pickling: it looks the model up by its name, and takes twice as long."""
    mine = row.__class__.__new__(row.__class__)
    mine.__dict__.update(row.__getstate__())
    return mine


def _ask(token: str) -> AuthToken | None:
    found = credentials.find_token(token)
    if found is not None and not found.user.is_superuser:  # who needs no permissions
        # Django's backends keep them on the user, and so do copies of the user.
        found.user.get_all_permissions()
    return found


def forget() -> None:
    """What is remembered in this process may be wrong from now on."""
    _tokens.forget()


def listen() -> None:
    """Hear of whatever changes rights by way of Django's models. Called once, at the start."""
    m2m_changed.connect(_changed)  # groups and permissions; nothing else here changes often
    senders = [settings.AUTH_USER_MODEL, "auth.Group", "auth.Permission"]
    for sender in [*senders, "knox.AuthToken"] if apps.is_installed("knox") else senders:
        post_save.connect(_saved, sender=sender)
        post_delete.connect(_changed, sender=sender)


def _saved(*, created: bool, update_fields: frozenset[str] | None, **_: Any) -> None:
    # What is new was not known before, and each log-in saves when it was.
    if not created and update_fields != frozenset({"last_login"}):
        _changed()


def _changed(**_: Any) -> None:
    # Once it is committed: before that, other threads would look up, and remember, how it was.
    transaction.on_commit(forget, robust=True)
