"""Loops that run for as long as the process serves, and do not die unseen.

A task of asyncio that ends with an exception tells nobody. Here the exception is logged with its traceback, the loop
starts anew after a short rest, and `down` names it meanwhile, so that readiness fails. Used by the hub, by the topics
and by `config`. It knows nothing of what a loop does: an outage that a loop expects is the loop's own to catch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

#: Seconds before a loop that has failed starts anew: short for its users, and one traceback a second for the log.
REST_SECONDS = 1.0
#: Seconds after which a task that was told to end is told again: a last word to a Redis that answers takes less.
AGAIN_SECONDS = 0.5
#: Seconds that all tasks together have to end. A process that is told to stop has some 10 s left after its drain.
STOP_SECONDS = 5.0

Loop = Callable[[], Awaitable[None]]


class Supervisor:
    """Keeps the loops of one owner running, from `start` to `stop`; both may be called again and again."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._resting: set[str] = set()
        #: What was told to end and has not ended yet.
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def down(self) -> list[str]:
        """The names, `owner.loop`, of the loops that should run and do not: resting or dead."""
        return sorted(name for name, task in self._tasks.items() if name in self._resting or task.done())

    def start(self, **loops: Loop) -> None:
        """Run each of the coroutine functions for ever, under its name."""
        for what, loop in loops.items():
            name = f"{self._owner}.{what}"
            self._tasks[name] = asyncio.create_task(self._keep(name, loop), name=name)

    async def stop(self) -> None:
        """End all loops. Takes STOP_SECONDS at the most: a loop that has not ended by then is named in the log.

        One cancellation is not always enough. On Python 3.11 `asyncio.wait_for` swallows one that comes just when what
        it waits for is done (CPython issue 86296, mended in 3.12). redis-py sends every command through it, and the
        `receive` of channels-redis' core layer then goes on asking Redis for ever.
        """
        for task in self._tasks.values():
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        self._tasks.clear()
        self._resting.clear()
        for _ in range(round(STOP_SECONDS / AGAIN_SECONDS)):
            if not self._ending:
                return
            for task in self._ending:
                task.cancel()
            await asyncio.wait(set(self._ending), timeout=AGAIN_SECONDS)
        if self._ending:
            logger.error("%s would not end.", ", ".join(sorted(task.get_name() for task in self._ending)))

    async def _keep(self, name: str, loop: Loop) -> None:
        task = asyncio.current_task()
        while True:
            try:
                await loop()
                logger.error("%s has returned, and starts anew in %s s.", name, REST_SECONDS)
            except (Exception, asyncio.CancelledError):
                if task is not None and task.cancelling():
                    raise  # it was told to end
                # A cancellation that nobody has asked for comes from a future that a library has cancelled.
                logger.exception("%s has failed, and starts anew in %s s.", name, REST_SECONDS)
            self._resting.add(name)
            await asyncio.sleep(REST_SECONDS)
            self._resting.discard(name)
