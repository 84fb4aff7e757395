"""Counting what happens in a window of time: in the cache that all processes share, or in a process's own memory.

`config.guessing` counts the log-ins for an account with `Counters`, each in the cache. `throttling` counts the requests
of a caller with a `Tally`, which asks the cache now and then. A window is fixed: around its turn somebody may get twice
the number. What to do without a count is for the caller to say.
"""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

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
        return self.add(name, 1, seconds)

    def add(self, name: str, number: int, seconds: int) -> int | None:
        """Count so many at once; how many there are in this window then, None if the cache does not answer."""
        return self._asked(lambda: self._add(_key(name, seconds), number, seconds))

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

    def _add(self, key: str, number: int, seconds: int) -> int:
        cache = self._cache()
        try:
            return int(cache.incr(key, number))
        except ValueError:  # nobody has counted in this window yet; two at once may both think so
            # Twice the window: the counter must not expire between the two steps of which Django's incr() consists.
            return number if cache.add(key, number, timeout=2 * seconds) else int(cache.incr(key, number))

    def _take_one_back(self, key: str) -> int:
        try:
            return int(self._cache().decr(key))
        except ValueError:
            return 0


@dataclass(slots=True)
class _Count:
    """What a process knows of one name in one window: all that were counted, when it last asked, and its own since."""

    window: int
    shared: int | None = None
    own: int = 0
    asking: bool = False


class Tally:
    """Counts in the process's memory, and tells the cache of `step` at once. Thread-safe.

    To count each request in the cache takes two round trips to Redis, a tenth of what a short request costs in all. So
    a process counts for itself, and adds to the shared count what came together: after the first of a window, and then
    after each `step`. One process alone knows its number exactly. Of several, none knows of the up to `step - 1` that
    each other one has not told yet: together they let pass `step - 1` too many for each further process, at most. They
    never stop one that is not too many.
    """

    def __init__(self, counters: Counters, *, size: int = MAX_IN_MEMORY) -> None:
        self._counters = counters
        self._size = size
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, _Count] = OrderedDict()  # the one that was used longest ago first

    def add_one(self, name: str, seconds: int, *, limit: int, step: int) -> int | None:
        """About the number of this one in the window of `seconds`; None if the cache was asked and does not answer.

        Past `limit` the cache is not asked any more: a number does not get smaller within its window.
        """
        with self._lock:
            count = self._counted(name, int(time.time() // seconds))
            own, shared = count.own, count.shared or 0
            known = count.shared is not None and (own < step or shared > limit)
            if known or count.asking:
                return shared + own
            count.asking = True
        total = self._counters.add(name, own, seconds)
        with self._lock:
            count.asking = False
            if total is None:
                return None
            count.own -= own
            # Never less than before: a Redis that comes back empty has forgotten what this process knows.
            count.shared = max(total, shared)
            return count.shared + count.own

    def _counted(self, name: str, window: int) -> _Count:
        """The count of that name, with one more."""
        count = self._counts.get(name)
        if count is None or count.window != window:
            count = self._counts[name] = _Count(window)
            if len(self._counts) > self._size:
                self._counts.popitem(last=False)
        self._counts.move_to_end(name)
        count.own += 1
        return count


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
