"""The clients that are behind have the log read for them in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from django.utils import timezone

from notifications.access.credentials import Credential
from notifications.delivery.backlog import Backlog
from notifications.delivery.outbox import Outbox
from notifications.delivery.subscriber import Feed, Subscriber

Make = Callable[[], Subscriber]


@pytest.fixture
def client() -> Make:
    async def send(frame: str) -> None:
        pass

    def make() -> Subscriber:
        credential = Credential(1, "alice", "session:test", None, timezone.now())
        return Subscriber(Feed(1), credential, Outbox(send, drained=lambda: None))

    return make


async def test_the_first_that_fell_behind_is_the_first_that_is_read_for(client: Make):
    backlog, clients = Backlog(), [client() for _ in range(7)]
    for each in clients:
        backlog.add(each)
    assert await backlog.next(3) == clients[:3]


async def test_one_that_stays_behind_goes_to_the_end_of_the_line(client: Make):
    """Three that are far behind must not keep the fourth from its first page."""
    backlog, clients = Backlog(), [client() for _ in range(5)]
    for each in clients:
        backlog.add(each)
    taken = [each for _ in range(5) for each in await backlog.next(3)]
    assert taken == clients * 3


async def test_falling_behind_again_costs_no_turn(client: Make):
    backlog, clients = Backlog(), [client() for _ in range(2)]
    for each in [*clients, clients[0]]:
        backlog.add(each)
    assert await backlog.next(1) == clients[:1]


async def test_a_slow_reader_keeps_its_place_and_is_read_for_when_it_has_drained(client: Make):
    backlog, slow, other = Backlog(), client(), client()
    slow.outbox.put("{}")
    backlog.add(slow)
    backlog.add(other)
    assert await backlog.next(1) == [other]
    backlog.discard(other)
    waiting = asyncio.ensure_future(backlog.next(1))
    await asyncio.sleep(0)
    slow.outbox.waiting.clear()
    backlog.drained(slow)
    assert await waiting == [slow]


async def test_nobody_is_read_for_who_has_gone(client: Make):
    backlog, gone, other = Backlog(), client(), client()
    backlog.add(gone)
    backlog.add(other)
    gone.close(None)
    assert await backlog.next(2) == [other]
