"""What is asked for while a call runs goes together with the next, and everybody gets their own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from notifications.database import DatabaseThreads
from notifications.gathering import LIMIT, Gathering
from tests.polling import apoll


class LookUp:
    """Doubles numbers, as soon as it may; keeps what it was called with."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may_answer = threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        self.may_answer.wait()
        if 0 in numbers:
            raise ZeroDivisionError
        return [2 * number for number in numbers]


@pytest.fixture
def look_up() -> LookUp:
    return LookUp()


@pytest.fixture
async def gathering(look_up: LookUp) -> AsyncIterator[Gathering[int, int]]:
    threads = DatabaseThreads("test")
    yield Gathering(threads, look_up)
    look_up.may_answer.set()
    await threads.close()


async def asked(gathering: Gathering[int, int], look_up: LookUp, *numbers: int) -> list[asyncio.Task[int]]:
    """The first of the numbers is being looked up, and the others wait."""
    first, *others = numbers
    tasks = [asyncio.create_task(gathering.find(first))]
    await apoll(lambda: look_up.calls, saying="the first call")
    tasks += [asyncio.create_task(gathering.find(number)) for number in others]
    await asyncio.sleep(0)
    return tasks


async def test_one_goes_at_once_and_those_who_come_meanwhile_go_together(
    gathering: Gathering[int, int], look_up: LookUp
):
    tasks = await asked(gathering, look_up, 1, 2, 3, 3)
    look_up.may_answer.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 6]
    assert look_up.calls == [[1], [2, 3, 3]]


async def test_a_call_has_a_bound(gathering: Gathering[int, int], look_up: LookUp):
    tasks = await asked(gathering, look_up, 1, *range(2, LIMIT + 4))
    look_up.may_answer.set()
    await asyncio.gather(*tasks)
    assert [len(call) for call in look_up.calls] == [1, LIMIT, 2]


async def test_an_error_is_for_those_whose_call_it_was(gathering: Gathering[int, int], look_up: LookUp):
    tasks = await asked(gathering, look_up, 1, 0, 2)
    look_up.may_answer.set()
    assert await tasks[0] == 2
    for task in tasks[1:]:
        with pytest.raises(ZeroDivisionError):
            await task
    assert await gathering.find(5) == 10


async def test_what_nobody_waits_for_any_more_is_not_looked_up(gathering: Gathering[int, int], look_up: LookUp):
    tasks = await asked(gathering, look_up, 1, 2, 3)
    tasks[1].cancel()
    await asyncio.wait({tasks[1]})
    look_up.may_answer.set()
    assert [await tasks[0], await tasks[2]] == [2, 6]
    assert look_up.calls == [[1], [3]]
