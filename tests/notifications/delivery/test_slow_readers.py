"""Slow readers delay nobody, are bounded, and lack nothing in the end."""

import pytest
from django.contrib.auth.models import User

from notifications.delivery import outbox
from notifications.delivery.hub import Hub
from tests.notifications.conftest import Database, following, tell, tell_one_by_one
from tests.notifications.delivery.conftest import ReadsOfTheLog

pytestmark = pytest.mark.usefixtures("serving")


async def test_a_slow_reader_delays_nobody_is_bounded_and_gets_everything_later(
    hub: Hub, alice: User, bob: User, database: Database
):
    count = 4 * outbox.MAX_FRAMES
    async with following(hub, alice) as slow, following(hub, alice) as fast:
        slow.reads.clear()
        await database(tell_one_by_one, alice, count)
        await fast.gets(range(1, count + 1))
        assert len(slow.subscriber.outbox.waiting) <= outbox.MAX_FRAMES
        reads = await ReadsOfTheLog.of(hub)
        await database(tell, alice)
        await fast.gets(range(1, count + 2))
        assert reads.count == 0  # what it cannot take is not read for it
        slow.reads.set()
        await slow.gets(range(1, count + 2))


async def test_large_frames_are_bounded_by_their_length(hub: Hub, alice: User, database: Database):
    async with following(hub, alice) as slow, following(hub, alice) as fast:
        slow.reads.clear()
        for _ in range(6):
            await database(tell, alice, note="x" * 50_000)
        await fast.gets(range(1, 7))
        assert sum(len(frame) for frame in slow.subscriber.outbox.waiting) <= outbox.MAX_CHARACTERS + 51_000
        slow.reads.set()
        await slow.gets(range(1, 7))


async def test_a_frame_larger_than_the_bound_is_delivered_all_the_same(hub: Hub, alice: User, database: Database):
    async with following(hub, alice) as client:
        await database(tell, alice, note="x" * (2 * outbox.MAX_CHARACTERS))
        await client.gets([1])
