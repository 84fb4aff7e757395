"""The queue and the event of a socket do what asyncio's do, as far as uvicorn asks."""

import asyncio

import pytest

from config.server.waiting import Gate, Inbox


async def test_messages_come_out_in_order_and_a_reader_waits_for_the_next():
    inbox: Inbox[int] = Inbox()
    inbox.put_nowait(1)
    inbox.put_nowait(2)
    assert [await inbox.get(), await inbox.get()] == [1, 2]
    assert inbox.empty()
    reading = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    inbox.put_nowait(3)
    inbox.put_nowait(4)
    assert await reading == 3
    assert not inbox.empty()


async def test_a_reader_that_gives_up_takes_no_message_along():
    inbox: Inbox[int] = Inbox()
    reading = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    reading.cancel()
    inbox.put_nowait(1)
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await inbox.get() == 1


async def test_those_who_wait_go_on_together_when_it_is_set():
    gate = Gate()
    assert await gate.wait()
    gate.clear()
    waiting = [asyncio.create_task(gate.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not gate.is_set()
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()
    gate.set()
    assert await asyncio.gather(*waiting[1:]) == [True, True]
