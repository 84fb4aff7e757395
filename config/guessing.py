"""Slows the guessing of passwords: attempts are counted, and hashes are few, before a password is looked at.

`Backend` stands in AUTHENTICATION_BACKENDS, so every way to log in passes it: the pages', the admin's, and whatever
else calls `authenticate()`. `Guard` is the middleware that answers for it. In front of both, `config.login_queue` keeps
those who log in from taking the threads of all others.

An attempt counts before it is hashed, so guesses that are sent at once do not slip through together. A right password
gives back its own attempt and no other. A name that nobody has is counted, hashed and answered as one that somebody
has.

Counting by account lets a stranger lock the account's owner out. So a browser that has logged in to an account has a
signed cookie, and is counted by itself there: what strangers do elsewhere is no matter to it, nor are the attempts of
its address (OWASP, "Slow Down Online Guessing Attacks with Device Cookies"). Whoever steals the cookie may guess at
that rate, and has nothing else of it.

Counters are kept in the cache, under a digest of the name, since people type passwords into the wrong field. While the
cache is away each process counts by itself: an attacker then has the rate once for each process.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.signals import user_logged_in
from django.core import signing
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from api import counting

logger = logging.getLogger(__name__)

#: Passwords that a process hashes at once. Each takes a core for a third of a second, and a process has one.
HASHES = 1
#: Seconds that a log-in waits for its turn, with one of Django's threads.
PATIENCE = 10.0
#: Characters of a name: as many as `auth.User` has, and none is longer in another spelling.
MAX_NAME = 150
SALT = "orderwire.device"
#: Seconds that a browser is known: browsers keep no cookie longer than 400 days.
KNOWN_SECONDS = 365 * 86_400

_slots = threading.BoundedSemaphore(HASHES)
_own = counting.in_memory("log-ins")


class Refused(Exception):
    """The password is not looked at now; it may be after `wait` seconds."""

    def __init__(self, wait: int) -> None:
        super().__init__(f"again in {wait} s")
        self.wait = wait


class TooManyAttempts(Refused):
    """For this account, or from this address."""


class TooBusy(Refused):
    """As many passwords are being hashed as this process hashes at once."""


class Backend(ModelBackend):
    """Django's own, which checks a password only as often as `LOGIN_RATE` and `LOGIN_RATE_PER_ADDRESS` allow.

    Raises `TooManyAttempts` and `TooBusy`.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> Any:
        users = get_user_model()
        if username is None:
            username = kwargs.get(users.USERNAME_FIELD)
        if username is None or password is None:
            return None
        if len(username) > MAX_NAME:
            return None  # No account can have this name, as everybody knows.
        counted: list[tuple[str, int]] = []
        try:
            for name, (limit, seconds) in _counters_of(request, username):
                counted.append((name, seconds))
                _count(name, limit, seconds)
            with _hashing():
                user = super().authenticate(request, username=username, password=password)
        except TooBusy:
            _give_back(counted)
            raise
        if user is not None:
            _give_back(counted)
        return user

    async def aauthenticate(self, request: HttpRequest | None, *args: Any, **kwargs: Any) -> Any:
        return await sync_to_async(self.authenticate)(request, *args, **kwargs)


class Guard:
    """Middleware: the answer to a log-in that was refused, and the cookie by which a browser is known."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if (user := getattr(request, "has_logged_in", None)) is not None:
            name = user.get_username()
            device = _device(request, name) or secrets.token_hex(16)
            response.set_cookie(
                settings.DEVICE_COOKIE_NAME,
                signing.dumps([_digest(name), device], salt=SALT),
                max_age=KNOWN_SECONDS,
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Lax",
            )
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """A page, for the admin as for customers: 429 or 503, with `Retry-After`."""
        if not isinstance(error, Refused):
            return None
        busy = isinstance(error, TooBusy)
        context = {"busy": busy, "minutes": -(-error.wait // 60)}
        response = render(request, "pages/later.html", context, status=503 if busy else 429)
        response.headers["Retry-After"] = str(error.wait)
        response.headers["Cache-Control"] = "no-store"
        return response


@receiver(user_logged_in)
def _remember(*, request: Any, user: Any, **_: Any) -> None:
    if request is not None:
        request.has_logged_in = user


def _counters_of(request: HttpRequest | None, username: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """The names of the counters of an attempt, with the rate of each."""
    device = request and _device(request, username)
    address = request and _network(request.META.get("REMOTE_ADDR", ""))
    # The address first: past its own rate it must not go on using up those of accounts.
    if settings.LOGIN_RATE_PER_ADDRESS is not None and address and not device:
        yield f"log-in:address:{address}", settings.LOGIN_RATE_PER_ADDRESS
    if settings.LOGIN_RATE is not None:
        yield f"log-in:{f'device:{device}' if device else f'account:{_digest(username)}'}", settings.LOGIN_RATE


def _count(name: str, limit: int, seconds: int) -> None:
    """Raises `TooManyAttempts` past the limit."""
    number = counting.shared.add_one(name, seconds)
    if number is None:
        number = _own.add_one(name, seconds)
    if number is not None and number > limit:
        if number == limit + 1:  # once for each window: who guesses goes on guessing
            logger.warning("More than %s log-ins in %s s were tried for %s", limit, seconds, name)
        raise TooManyAttempts(counting.seconds_left(seconds))


def _give_back(counted: list[tuple[str, int]]) -> None:
    for name, seconds in counted:
        if counting.shared.take_one_back(name, seconds) is None:
            _own.take_one_back(name, seconds)


@contextmanager
def _hashing() -> Iterator[None]:
    """One of the few places in which passwords are hashed. Raises `TooBusy`."""
    if not _slots.acquire(timeout=PATIENCE):
        raise TooBusy(wait=int(PATIENCE))
    try:
        yield
    finally:
        _slots.release()


def _device(request: HttpRequest, username: str) -> str | None:
    """The browser's name for itself, if it has logged in to this very account."""
    try:
        cookie = request.COOKIES.get(settings.DEVICE_COOKIE_NAME, "")
        whose, device = signing.loads(cookie, salt=SALT, max_age=KNOWN_SECONDS)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return str(device) if whose == _digest(username) else None


def _digest(username: str) -> str:
    return hashlib.sha256(username.encode(errors="surrogatepass")).hexdigest()[:32]


def _network(address: str) -> str:
    """An IPv6 customer has a whole /64 of addresses (RFC 6177) and counts as one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return str(found if found.version == 4 else ipaddress.ip_network((found, 64), strict=False))  # noqa: PLR2004
