"""How often one token, or one user's session, may call: `API_RATE`, counted in memory and, now and then, in the cache.

Each process tells the others of a hundredth of the rate at once (`counting.Tally`): a single process lets pass the rate
exactly, each further one a hundredth of it more at most, and the headers may be that far behind. Around the turn of a
window somebody may get twice the rate. Both are a bound on load, and not on rights.

Limits protect the service, so they must not be what stops it: when the cache does not answer, everybody may pass.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from knox.models import AuthToken
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from api import counting

#: Of the rate, what a process counts by itself before it tells the others: with 6,000 a minute one question to Redis in
#: 60 requests, so that asking costs next to nothing. A rate below 200 is counted one by one.
SHARE = 1 / 100

requests = counting.Tally(counting.shared)


class ApiRate(BaseThrottle):
    """Refuses with 429 a caller that has used up `settings.API_RATE`, `(requests, seconds)`; None is no limit."""

    def allow_request(self, request: Request, view: Any) -> bool:
        if settings.API_RATE is None:
            return True
        limit, seconds = settings.API_RATE
        step = max(1, int(limit * SHARE))
        used = requests.add_one(f"rate:{_caller(request)}", seconds, limit=limit, step=step)
        if used is None:
            return True
        self._reset = counting.seconds_left(seconds)
        # On Django's request, where `add_headers` finds it whatever the answer is.
        request._request.rate_limit = (limit, seconds, max(0, limit - used), self._reset)  # type: ignore[attr-defined]
        return used <= limit

    def wait(self) -> float:
        return self._reset


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
