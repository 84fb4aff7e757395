"""Look-ups that come in storms, gathered: while one call to the database runs, whatever is asked for waits, and goes
together with the next.

One that comes alone goes at once, so nobody waits for company. `access` asks here for what a handshake needs: when all
browsers come back at once, a hundred of them cost the statements, the turns of the event loop and the thread's
wakings that one would have cost. What a look-up means is its function's business; this knows keys and answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from notifications.database import DatabaseThreads

#: Keys of one call at most. What is saved grows little beyond that, while the first of them waits for the last.
LIMIT = 100

K = TypeVar("K")
V = TypeVar("V")


class Gathering(Generic[K, V]):
    """Answers of one kind. `look_up` is called on one of the threads, and gives an answer for each key, in their order.

    Keys may come twice in a call. What `look_up` raises is raised to everybody whose key was in it, so it must not
    raise for what is wrong with a single key.
    """

    def __init__(self, database: DatabaseThreads, look_up: Callable[[Sequence[K]], Sequence[V]]) -> None:
        self._database = database
        self._look_up = look_up
        self._waiting: deque[tuple[K, asyncio.Future[V]]] = deque()
        self._asking: asyncio.Task[None] | None = None

    async def find(self, key: K) -> V:
        """The answer for a key; raises what the call raises that it was in."""
        loop = asyncio.get_running_loop()
        if self._asking is None or self._asking.done() or self._asking.get_loop() is not loop:
            # What waits from a loop that has ended waits for nobody.
            self._waiting = deque()
            self._asking = loop.create_task(self._ask(self._waiting))
        answer: asyncio.Future[V] = loop.create_future()
        self._waiting.append((key, answer))
        return await answer

    async def _ask(self, waiting: deque[tuple[K, asyncio.Future[V]]]) -> None:
        while waiting:
            asked = [waiting.popleft() for _ in range(min(LIMIT, len(waiting)))]
            # Who has given up meanwhile is not asked for: a look-up may use something up.
            asked = [(key, answer) for key, answer in asked if not answer.done()]
            try:
                found = await self._database.run(self._look_up, [key for key, _ in asked])
                for (_, answer), value in zip(asked, found, strict=True):
                    if not answer.done():
                        answer.set_result(value)
            except Exception as error:
                for _, answer in asked:
                    if not answer.done():
                        answer.set_exception(error)
            finally:
                for _, answer in asked:  # left over where this task is ended, with its loop
                    answer.cancel()
