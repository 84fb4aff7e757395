"""Waiting in tests: ask again until it is so, or say what did not come. The only place in the suite that sleeps.

Every test that waits for another process calls `poll` (or `apoll` in async tests) with what it waits for. Nothing here
measures time: a deadline says when to give up, and a test that needs all of it has failed.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

# Seconds before a wait counts as failed. Generous, since a machine with two busy cores is slow and not wrong; a test
# that passes never waits that long.
PATIENCE = 20.0

# Seconds between two looks: far below what a person notices, and a few hundred looks a second cost nothing.
INTERVAL = 0.01


def _gave_up(predicate: Callable[[], object], within: float, saying: str | Callable[[], str]) -> AssertionError:
    said = saying() if callable(saying) else saying
    what = said or getattr(predicate, "__qualname__", repr(predicate))
    return AssertionError(f"gave up after {within:g} s: {what}")


def poll(predicate: Callable[[], T], *, within: float = PATIENCE, saying: str | Callable[[], str] = "") -> T:
    """Return the first true value of `predicate()`; AssertionError, with `saying`, after `within` seconds.

    An exception of the predicate ends the wait at once: what may fail for a while is for the predicate to catch.
    """
    deadline = time.monotonic() + within
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise _gave_up(predicate, within, saying)
        time.sleep(INTERVAL)
    return value


@overload
async def apoll(
    predicate: Callable[[], Awaitable[T]],
    *,
    within: float = ...,
    saying: str | Callable[[], str] = ...,
    every: float = ...,
) -> T: ...
@overload
async def apoll(
    predicate: Callable[[], T],
    *,
    within: float = ...,
    saying: str | Callable[[], str] = ...,
    every: float = ...,
) -> T: ...
async def apoll(
    predicate: Callable[[], Any],
    *,
    within: float = PATIENCE,
    saying: str | Callable[[], str] = "",
    every: float = INTERVAL,
) -> Any:
    """`poll` for async tests: the predicate may be a coroutine function, and the loop runs on meanwhile.

    Whoever asks a server, many at once, asks less often: `every` so many seconds.
    """
    deadline = time.monotonic() + within
    while True:
        outcome = predicate()
        value = await outcome if inspect.isawaitable(outcome) else outcome
        if value:
            return value
        if time.monotonic() > deadline:
            raise _gave_up(predicate, within, saying)
        await asyncio.sleep(every)
