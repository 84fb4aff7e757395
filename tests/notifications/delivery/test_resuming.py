"""Clients that come with a position, or with none: each is served from there, or reset."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
from django.contrib.auth.models import User

from notifications.delivery import cursor, log_reader
from notifications.delivery.hub import Hub
from notifications.log import stream
from notifications.models import Stream
from tests.notifications.conftest import Database, following, tell
from tests.polling import apoll

pytestmark = pytest.mark.usefixtures("serving")


async def test_who_brings_no_position_gets_only_what_comes_from_now_on(hub: Hub, alice: User, database: Database):
    await database(tell, alice, 3)
    async with following(hub, alice) as client:
        assert (await client.greeted())["after"] == 3
        await database(tell, alice)
        await client.gets([4])


async def test_a_position_in_this_stream_is_served_with_its_name(hub: Hub, alice: User, database: Database):
    await database(tell, alice, 3)
    uid = (await database(stream.position, alice.pk)).uid
    async with following(hub, alice, after=1, stream_uid=uid) as client:
        await client.gets([2, 3])
        assert client.of_type("reset") == []


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ({"after": 2, "stream_uid": "another"}, "unknown_stream"),
        ({"after": 6}, "ahead"),
        ({"after": 1}, "trimmed"),
        ({"after": 2}, "too_many"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_position_that_cannot_be_served_is_reset_to_the_head(
    position: dict[str, Any],
    reason: str,
    hub: Hub,
    alice: User,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(cursor, "MAX_REPLAY", 2)
    await database(tell, alice, 5)
    await database(Stream.objects.update, trimmed_up_to=2)
    async with following(hub, alice, **position) as client:
        await apoll(lambda: client.of_type("reset"), saying="a reset")
        uid = (await database(stream.position, alice.pk)).uid
        assert client.frames[1:] == [{"type": "reset", "stream": uid, "head": 5, "reason": reason}]
        await database(tell, alice)
        await client.gets([6])


@pytest.mark.parametrize("after", [3, 5])
async def test_a_position_at_the_edge_is_served(
    after: int, hub: Hub, alice: User, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cursor, "MAX_REPLAY", 2)
    await database(tell, alice, 5)
    await database(Stream.objects.update, trimmed_up_to=3)
    async with following(hub, alice, after=after) as client:
        await client.gets(range(after + 1, 6))
        assert client.of_type("reset") == []


async def test_two_windows_of_one_user_are_served_each_from_its_own_position(hub: Hub, alice: User, database: Database):
    await database(tell, alice, 10)
    async with (
        following(hub, alice, after=2) as old,
        following(hub, alice, after=8) as new,
        following(hub, alice) as now,
    ):
        await old.gets(range(3, 11))
        await new.gets([9, 10])
        await database(tell, alice)
        await old.gets(range(3, 12))
        await new.gets([9, 10, 11])
        await now.gets([11])


async def test_more_than_a_page_is_replayed_page_by_page(
    hub: Hub, alice: User, database: Database, monkeypatch: pytest.MonkeyPatch
):
    count = 3 * stream.PAGE + 1
    await database(tell, alice, count)
    async with following(hub, alice, after=0) as far, following(hub, alice, after=count - 5) as near:
        await near.gets(range(count - 4, count + 1))
        await far.gets(range(1, count + 1))


async def test_more_clients_than_one_query_names_all_catch_up(
    hub: Hub, alice: User, bob: User, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(log_reader, "READ_TOGETHER", 2)
    await database(tell, alice, 3)
    await database(tell, bob, 2)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(following(hub, user, after=0)) for user in [alice, bob] * 4]
        for number, client in enumerate(clients):
            await client.gets([1, 2] if number % 2 else [1, 2, 3])
