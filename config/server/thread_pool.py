"""A fixed number of threads, of which exactly one is woken for a call: the one that has been idle the shortest.

`concurrent.futures` lets all threads wait at one queue. There a call wakes one that takes it, and then a second one,
which finds the queue empty; and both want Python's interpreter lock at that moment, so the first one waits for the
second. That cost a twentieth of a short request. Here each idle thread waits at a place of its own. The one that was
busy last has its database connection and the processor's caches as it left them.

`web_threads` is the only caller.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

Call = Callable[[], None]


class ThreadPool:
    """`size` threads, started as they are needed. They end when nobody has the pool any more, and with the process."""

    def __init__(self, size: int, *, name: str) -> None:
        self._size = size
        self._name = name
        self._started = 0
        self._work = _Work()
        weakref.finalize(self, self._work.end)

    def submit(self, call: Call) -> None:
        """Have it called, soon or when a thread comes free; it must not raise."""
        work = self._work
        with work.lock:
            if work.idle:
                place = work.idle.pop()
            elif self._started < self._size:
                place = self._start()
            else:
                work.waiting.append(call)
                return
        place.put(call)

    def withdraw(self, call: Call) -> bool:
        """Take back a call that waits for a thread. Whether it has not begun, and now never will."""
        with self._work.lock:
            if call not in self._work.waiting:
                return False
            self._work.waiting.remove(call)
            return True

    def _start(self) -> SimpleQueue[Call | None]:
        place: SimpleQueue[Call | None] = SimpleQueue()
        # A daemon: the process ends also when one of them hangs for ever. Whoever stops it lets requests end before.
        thread = threading.Thread(
            target=self._work.serve, args=(place,), name=f"{self._name}_{self._started}", daemon=True
        )
        thread.start()  # or it raises, and the next call tries again
        self._started += 1
        return place


class _Work:
    """What the threads share. They do not know the pool, so that it can be seen that nobody has it any more."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        #: Where the idle threads wait, the one that was busy last at the end.
        self.idle: list[SimpleQueue[Call | None]] = []
        self.waiting: deque[Call] = deque()
        self._ended = False

    def serve(self, place: SimpleQueue[Call | None]) -> None:
        """The life of one thread."""
        call = place.get()
        while call is not None:
            call()
            call = self._next(place) or place.get()

    def _next(self, place: SimpleQueue[Call | None]) -> Call | None:
        """What waits for a thread; otherwise this one is idle from now on."""
        with self.lock:
            if self.waiting:
                return self.waiting.popleft()
            if self._ended:
                place.put(None)
            else:
                self.idle.append(place)
            return None

    def end(self) -> None:
        with self.lock:
            self._ended = True
            for place in self.idle:
                place.put(None)
            self.idle.clear()
