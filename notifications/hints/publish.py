"""The push: hints to a user's sockets, or to a topic's watchers, after the commit. The only caller of `group_send`.

A hint may be lost, doubled or late, and nothing breaks: the hub knows the number that it expects and reads the log. So
publishing never raises, never makes a request wait, and gives up early: what cannot be sent within `SEND_TIMEOUT` is
dropped, and the hub's tail check finds the rows.

`on_commit` may be called from any thread. The sending happens on one long-lived loop for each process. That is the
server's own loop (`use_loop`, at its start), otherwise a loop in a thread of ours (Celery workers, commands).
`async_to_sync` would build a thread, a loop and a connection to Redis for every call.

A layer may have an attribute `sends_at_once`: how many calls of `group_send` it takes at the same time, and keeps in
their order. A layer without it is given one hint after the other.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import socket
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any

from channels.layers import get_channel_layer
from django.db import transaction

from notifications.hints.messages import Appended, Aside, Hint, ReadUpTo, Revoked, TopicAside, Touched, group_of

__all__ = [
    "Appended",
    "Aside",
    "Hint",
    "ReadUpTo",
    "Resting",
    "Revoked",
    "TopicAside",
    "Touched",
    "group_of",
    "on_commit",
    "use_loop",
]

logger = logging.getLogger(__name__)

#: Seconds that one hint may take. Redis answers in under a millisecond, or it is in trouble.
SEND_TIMEOUT = 0.5
#: Seconds without a further try after a hint that failed: a layer that hangs must not cost SEND_TIMEOUT a hint.
PAUSE = 1.0
#: Seconds that the end of a process may wait for its last hints.
FLUSH_TIMEOUT = 5.0
#: How many hints may wait in one process; some 10 MiB. The tail check repairs what is dropped beyond that.
MAX_WAITING = 10_000


class Resting(Exception):
    """A layer's word: this hint is lost, the server that it was for rests, and the layer sees to that by itself.

    A layer that shares groups out among servers raises it, so that the publisher makes no pause for the other servers.
    """


def on_commit(hint: Hint) -> None:
    """Send the hint once the current transaction has committed; at once outside of one; never if it rolls back."""
    transaction.on_commit(partial(_publisher.put, hint), robust=True)


def use_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Publish on this running loop from now on: the server's own. None goes back to a loop of ours."""
    _publisher.use_loop(loop)


class _OwnLoop(asyncio.SelectorEventLoop):
    """A loop for nothing but hints, in a thread of its own that may outlive everything else of the process."""

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> list[Any]:
        # asyncio asks a thread pool, and pools refuse work once the interpreter is ending: just when a command that
        # does one thing first connects to Redis. Here nothing else waits for the answer.
        return socket.getaddrinfo(host, port, **options)


class _Publisher:
    """A bounded queue of hints and the task that empties it, on one loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server_loop: asyncio.AbstractEventLoop | None = None
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[Hint] = deque()
        self._sending = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._paused_until = 0.0

    def use_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        with self._lock:
            self._server_loop = loop
            # A loop that has ended takes its sending task along, and what troubled it; the next hint starts anew.
            self._sending = False
            self._paused_until = 0.0

    def put(self, hint: Hint) -> None:
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                logger.warning("A hint for %s is dropped: %s wait already.", hint.group, MAX_WAITING)
                return
            self._waiting.append(hint)
            if self._sending:
                return
            loop = self._server_loop or self._start_own_loop()
            loop.call_soon_threadsafe(self._spawn)
            # Not before: if there is no thread to be had, the next hint tries again.
            self._sending = True

    def flush(self) -> None:
        """Wait until what is waiting has been sent or given up: a command that ends at once must not take it along."""
        if self._own_loop is None:
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._emptied(), self._own_loop).result(FLUSH_TIMEOUT)

    def _start_own_loop(self) -> asyncio.AbstractEventLoop:
        if self._own_loop is None:
            # Imported here: a fork in the middle of an import on the other thread would leave the child half a module.
            get_channel_layer()
            self._own_loop = _OwnLoop()
            threading.Thread(target=self._own_loop.run_forever, name="orderwire-publish", daemon=True).start()
        return self._own_loop

    def _spawn(self) -> None:
        # The loop holds tasks weakly; this one has to live until the queue is empty.
        task = asyncio.get_running_loop().create_task(self._send_all())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_all(self) -> None:
        while hints := self._next():
            if asyncio.get_running_loop().time() < self._paused_until:
                continue
            try:
                async with asyncio.timeout(SEND_TIMEOUT):
                    await _send(hints)
            except Exception as error:  # any layer, any trouble: a hint is only a hint
                self._paused_until = asyncio.get_running_loop().time() + PAUSE
                logger.warning("Hints are dropped for %s s, the tail check will repair: %r", PAUSE, error)

    def _next(self) -> list[Hint]:
        """What is sent next, oldest first. Nothing when the queue is empty: then the next hint starts the sending."""
        at_once = getattr(get_channel_layer(), "sends_at_once", 1)
        with self._lock:
            hints = [self._waiting.popleft() for _ in range(min(at_once, len(self._waiting)))]
            self._sending = bool(hints)
        return hints

    async def _emptied(self) -> None:
        """Wait for what this loop is sending; another one, a server's, may have ended with its tasks."""
        here = asyncio.get_running_loop()
        await asyncio.gather(*(task for task in self._tasks if task.get_loop() is here))


async def _send(hints: list[Hint]) -> None:
    """Hand the hints to the layer, in their order. Raises what the layer raises, but for `Resting`."""
    layer = get_channel_layer()
    if len(hints) == 1:  # as almost always: a task would cost more than the sending
        with suppress(Resting):
            await layer.group_send(hints[0].group, hints[0].message())
        return
    sending = (layer.group_send(hint.group, hint.message()) for hint in hints)
    for outcome in await asyncio.gather(*sending, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, Resting):
            raise outcome


_publisher = _Publisher()


def _forget_after_fork() -> None:
    """A forked child has none of its parent's threads: it begins with a publisher of its own."""
    global _publisher  # noqa: PLW0603 -- one for each process is the point
    _publisher = _Publisher()


os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(lambda: _publisher.flush())  # noqa: PLW0108 -- whichever is the process's at its end
