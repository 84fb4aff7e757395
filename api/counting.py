"""Counting what happens in a window of time: in the cache that all processes share, or in a process's own memory.

`throttling` counts the requests of a caller, `config.guessing` the log-ins for an account. A window is fixed: around
its turn somebody may get twice the number. What to do without a count is for the caller to say.
"""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Callable

from django.core.cache import BaseCache, caches
from django.core.cache.backends.locmem import LocMemCache

logger = logging.getLogger(__name__)

#: Seconds without a further try after the cache failed: a Redis that hangs must not cost its time-out a request.
PAUSE = 5.0
#: Counters in a process's own memory; past it, those that were used longest ago go.
MAX_IN_MEMORY = 10_000


class Counters:
    """Counters by name and window. Thread-safe, as the cache is."""

    def __init__(self, cache: Callable[[], BaseCache]) -> None:
        self._cache = cache
        self._paused_until = 0.0

    def add_one(self, name: str, seconds: int) -> int | None:
        """The number of this one in the window of `seconds` that it is now; None if the cache does not answer."""
        return self._asked(lambda: self._add_one(_key(name, seconds), seconds))

    def take_one_back(self, name: str, seconds: int) -> int | None:
        """Undo an `add_one` of this window; None if the cache does not answer."""
        return self._asked(lambda: self._take_one_back(_key(name, seconds)))

    def _asked(self, ask: Callable[[], int]) -> int | None:
        if time.monotonic() < self._paused_until:
            return None
        try:
            return ask()
        except Exception as error:  # any cache, any trouble
            self._paused_until = time.monotonic() + PAUSE
            logger.warning("The cache does not answer, and is not asked for %s s: %r", PAUSE, error)
            return None

    def _add_one(self, key: str, seconds: int) -> int:
        cache = self._cache()
        try:
            return int(cache.incr(key))
        except ValueError:  # nobody has counted in this window yet; two at once may both think so
            # Twice the window: the counter must not expire between the two steps of which Django's incr() consists.
            return 1 if cache.add(key, 1, timeout=2 * seconds) else int(cache.incr(key))

    def _take_one_back(self, key: str) -> int:
        try:
            return int(self._cache().decr(key))
        except ValueError:
            return 0


def seconds_left(seconds: int) -> int:
    """Seconds until the window's turn, 1 at least."""
    now = time.time()
    return max(1, math.ceil((now // seconds + 1) * seconds - now))


def in_memory(name: str) -> Counters:
    """Counters of this process alone, which always answer; those of one name are the same."""
    cache = LocMemCache(name, {"OPTIONS": {"MAX_ENTRIES": MAX_IN_MEMORY}})
    return Counters(lambda: cache)


def _key(name: str, seconds: int) -> str:
    return f"{name}:{int(time.time() // seconds)}"


@functools.cache
def default_cache() -> BaseCache:
    """One cache for the process, with its pool of connections.

    `django.core.cache.cache` is another object in each context, and each request here runs in a context of its own: it
    would connect to Redis anew every time, which costs as much as the rest of the request.
    """
    return caches.create_connection("default")


#: Counters that all processes share, where there is a Redis.
shared = Counters(default_cache)
