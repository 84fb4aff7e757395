"""How often one token, or one user's session, may call: `API_RATE`, counted in the cache.

A fixed window: one counter for each caller and minute, which costs two round trips and can be told in the headers
exactly. Around the turn of a window somebody may get twice the rate; that is a bound on load, not on rights.

Limits protect the service, so they must not be what stops it: when the cache does not answer, everybody may pass, and
for a moment nobody asks it again.
"""

from __future__ import annotations

import functools
import logging
import math
import time
from typing import Any

from django.conf import settings
from django.core.cache import BaseCache, caches
from django.http import HttpRequest, HttpResponseBase
from knox.models import AuthToken
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

logger = logging.getLogger(__name__)

#: Seconds without a further try after the cache failed: a Redis that hangs must not cost its time-out a request.
PAUSE = 5.0


class ApiRate(BaseThrottle):
    """Refuses with 429 whoever has used up `settings.API_RATE`, `(requests, seconds)`; None is no limit."""

    _paused_until = 0.0

    def allow_request(self, request: Request, view: Any) -> bool:
        if settings.API_RATE is None:
            return True
        limit, seconds = settings.API_RATE
        now = time.time()
        window = int(now // seconds)
        used = self._count(f"rate:{_caller(request)}:{window}", seconds)
        if used is None:
            return True
        self._reset = math.ceil((window + 1) * seconds - now)
        # On Django's request, where `add_headers` finds it whatever the answer is.
        request._request.rate_limit = (limit, seconds, max(0, limit - used), self._reset)  # type: ignore[attr-defined]
        return used <= limit

    def wait(self) -> float:
        return self._reset

    @classmethod
    def _count(cls, key: str, seconds: int) -> int | None:
        """Which request of its window this is; None if nobody can say."""
        if time.monotonic() < cls._paused_until:
            return None
        try:
            return cls._add_one(key, seconds)
        except Exception as error:  # any cache, any trouble
            cls._paused_until = time.monotonic() + PAUSE
            logger.warning("Nobody is throttled for %s s, the cache does not answer: %r", PAUSE, error)
            return None

    @staticmethod
    def _add_one(key: str, seconds: int) -> int:
        cache = _cache()
        try:
            return int(cache.incr(key))
        except ValueError:  # nobody has counted in this window yet; two at once may both think so
            # Twice the window: the counter must not expire between the two steps of which Django's incr() consists.
            return 1 if cache.add(key, 1, timeout=2 * seconds) else int(cache.incr(key))


@functools.cache
def _cache() -> BaseCache:
    """One cache for the process, with its pool of connections.

    `django.core.cache.cache` is another object in each context, and each request here runs in a context of its own: it
    would connect to Redis anew every time, which costs as much as the rest of the request.
    """
    return caches.create_connection("default")


def add_headers(request: HttpRequest, response: HttpResponseBase) -> None:
    """`RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10, if this request was counted."""
    counted = getattr(request, "rate_limit", None)
    if counted is not None:
        limit, seconds, remaining, reset = counted
        response.headers["RateLimit-Policy"] = f'"default";q={limit};w={seconds}'
        response.headers["RateLimit"] = f'"default";r={remaining};t={reset}'


def _caller(request: Request) -> str:
    if isinstance(request.auth, AuthToken):
        return f"token:{request.auth.digest[:32]}"
    if request.user.is_authenticated:
        return f"user:{request.user.pk}"
    return f"address:{request.META.get('REMOTE_ADDR', '')}"
