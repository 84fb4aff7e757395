"""No loop dies unseen, and no stop waits for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from notifications import supervision
from notifications.supervision import Supervisor
from tests.polling import apoll


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "REST_SECONDS", 0.05)
    monkeypatch.setattr(supervision, "AGAIN_SECONDS", 0.05)


class Work:
    """A loop that goes wrong as often as it is told to, and then runs for ever."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.starts = 0

    async def __call__(self) -> None:
        self.starts += 1
        if self.errors:
            raise self.errors.pop(0)
        await asyncio.Event().wait()


async def test_a_loop_that_fails_is_logged_with_its_traceback_and_starts_anew(caplog: pytest.LogCaptureFixture):
    supervisor, work = Supervisor("hub"), Work(ZeroDivisionError("of ours"))
    supervisor.start(listen=work)
    await apoll(lambda: work.starts == 2, saying="a second start")
    [record] = caplog.records
    assert "hub.listen has failed" in record.message
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)
    await apoll(lambda: not supervisor.down)
    await supervisor.stop()


async def test_a_loop_that_rests_is_down_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervision, "REST_SECONDS", 3600.0)
    supervisor, good, bad = Supervisor("hub"), Work(), Work(ZeroDivisionError())
    supervisor.start(good=good, bad=bad)
    await apoll(lambda: bad.starts and good.starts)
    assert supervisor.down == ["hub.bad"]
    await supervisor.stop()
    assert supervisor.down == []


async def test_a_loop_that_a_library_cancels_starts_anew():
    supervisor, work = Supervisor("board"), Work(asyncio.CancelledError())
    supervisor.start(listen=work)
    await apoll(lambda: work.starts == 2, saying="a second start")
    await supervisor.stop()


async def test_a_loop_that_returns_starts_anew(caplog: pytest.LogCaptureFixture):
    supervisor, starts = Supervisor("hub"), []

    async def work() -> None:
        starts.append(1)

    supervisor.start(listen=work)
    await apoll(lambda: len(starts) > 1, saying="a second start")
    assert "hub.listen has returned" in caplog.text
    await supervisor.stop()


async def test_a_loop_that_swallows_its_cancellation_is_cancelled_again():
    """As redis-py does on Python 3.11, by `asyncio.wait_for`, when the answer is there in the same moment."""
    supervisor, swallowed, ended = Supervisor("hub"), [], []

    async def stubborn() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        swallowed.append(1)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    supervisor.start(listen=stubborn)
    await asyncio.sleep(0)
    await supervisor.stop()
    assert (swallowed, ended) == ([1], [1])


async def test_a_loop_that_will_not_end_is_named_and_holds_up_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(supervision, "STOP_SECONDS", 0.2)
    supervisor, ends = Supervisor("hub"), asyncio.Event()

    async def immortal() -> None:
        while not ends.is_set():
            with suppress(asyncio.CancelledError):
                await ends.wait()

    supervisor.start(listen=immortal, heartbeat=Work())
    await asyncio.sleep(0)
    await supervisor.stop()
    assert "hub.listen would not end" in caplog.text
    ends.set()
    await supervisor.stop()


async def test_what_was_stopped_can_be_started_again():
    supervisor, work = Supervisor("board"), Work()
    for _ in range(2):
        supervisor.start(listen=work)
        await asyncio.sleep(0)
        await supervisor.stop()
    assert work.starts == 2
