"""The push: hints to a user's sockets, or to a topic's watchers, after the commit. The only caller of `group_send`.

A hint may be lost, doubled or late, and nothing breaks: the hub knows the number that it expects and reads the log. So
publishing never raises, never makes a request wait, and gives up early: what cannot be sent within `SEND_TIMEOUT` is
dropped, and the hub's tail check finds the rows.

`on_commit` may be called from any thread. The sending happens on one long-lived loop for each process: the server's own
(`use_loop`, at its start), else a loop in a thread of ours (Celery workers, commands). `async_to_sync` would build a
thread, a loop and a connection to Redis for every call.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import logging
import os
import re
import socket
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol

from channels.layers import get_channel_layer
from django.db import transaction

from notifications import users
from notifications.protocol import Entry
from notifications.users import UserKey

logger = logging.getLogger(__name__)

#: Seconds that one hint may take. Redis answers in under a millisecond, or it is in trouble.
SEND_TIMEOUT = 0.5
#: Seconds without a further try after a hint that failed: a Redis that hangs must not cost SEND_TIMEOUT a hint.
PAUSE = 1.0
#: Seconds that the end of a process may wait for its last hints.
FLUSH_TIMEOUT = 5.0
#: How many hints may wait in one process; some 10 MiB. The tail check repairs what is dropped beyond that.
MAX_WAITING = 10_000
#: How many frames, and characters of them, one hint carries. Beyond that it names the head, and the hub reads the log.
MAX_FRAMES = 50
MAX_CHARACTERS = 200_000
#: A key that can be part of a group's name as it is. Channels' limit of 100 characters leaves room for a prefix.
LEGAL = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def group_of(user_id: UserKey) -> str:
    """The group of a user's sockets: ASCII letters, digits, `-_.` and under 100 characters, as Channels demands.

    A key that is a text may hold anything: its digest stands for one that Channels would refuse.
    """
    key = users.text(user_id)
    return f"user.{key if LEGAL.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()}"


class Hint(Protocol):
    """What can be published: a group of the channel layer, and a message for all in it."""

    @property
    def group(self) -> str: ...

    def message(self) -> dict[str, Any]: ...


class Appended(NamedTuple):
    """Entries were appended to a user's stream."""

    user_id: UserKey
    uid: str
    entries: Sequence[Entry]

    @property
    def group(self) -> str:
        return group_of(self.user_id)

    def message(self) -> dict[str, Any]:
        carried = len(self.entries) <= MAX_FRAMES and sum(len(entry.frame) for entry in self.entries) <= MAX_CHARACTERS
        return {
            "type": "stream.appended",
            "user": users.text(self.user_id),
            "uid": self.uid,
            "head": self.entries[-1].seq,
            "entries": [list(entry) for entry in self.entries] if carried else [],
        }


class ReadUpTo(NamedTuple):
    """A user has read up to a number, in one of many tabs."""

    user_id: UserKey
    up_to: int
    unread: int

    @property
    def group(self) -> str:
        return group_of(self.user_id)

    def message(self) -> dict[str, Any]:
        return {"type": "stream.read", "user": users.text(self.user_id), "up_to": self.up_to, "unread": self.unread}


class Revoked(NamedTuple):
    """Credentials of a user have ended: those whose key begins with `key`, checked before `at` (seconds, Unix)."""

    user_id: UserKey
    key: str
    at: float

    @property
    def group(self) -> str:
        return group_of(self.user_id)

    def message(self) -> dict[str, Any]:
        return {"type": "stream.revoked", "user": users.text(self.user_id), "key": self.key, "at": self.at}


class Touched(NamedTuple):
    """Things of a topic have changed; its watchers read what has become of them."""

    #: The topic's name, which is its group's.
    topic: str
    keys: Sequence[str]

    @property
    def group(self) -> str:
        return self.topic

    def message(self) -> dict[str, Any]:
        return {"type": "topic.touched", "keys": list(self.keys)}


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
        loop = asyncio.get_running_loop()
        while True:
            with self._lock:
                if not self._waiting:
                    self._sending = False
                    return
                hint = self._waiting.popleft()
            if loop.time() < self._paused_until:
                continue
            try:
                async with asyncio.timeout(SEND_TIMEOUT):
                    await get_channel_layer().group_send(hint.group, hint.message())
            except Exception as error:  # any layer, any trouble: a hint is only a hint
                self._paused_until = loop.time() + PAUSE
                logger.warning("Hints are dropped for %s s, the tail check will repair: %r", PAUSE, error)

    async def _emptied(self) -> None:
        """Wait for what this loop is sending; another one, a server's, may have ended with its tasks."""
        here = asyncio.get_running_loop()
        await asyncio.gather(*(task for task in self._tasks if task.get_loop() is here))


_publisher = _Publisher()


def _forget_after_fork() -> None:
    """A forked child has none of its parent's threads: it begins with a publisher of its own."""
    global _publisher  # noqa: PLW0603 -- one for each process is the point
    _publisher = _Publisher()


os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(lambda: _publisher.flush())  # noqa: PLW0108 -- whichever is the process's at its end
