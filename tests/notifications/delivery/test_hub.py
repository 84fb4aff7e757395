"""The hub, over every kind of channel layer: each client holds its user's stream in order, once, whatever hints do.

Where only a hint can bring a notification, the tail check is switched off by an interval that no test lives to see.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer
from django.contrib.auth.models import User
from django.db import connection

from notifications.delivery import hub as hub_module
from notifications.delivery import outbox
from notifications.delivery.hub import Hub
from notifications.hints import publish
from notifications.hints.layers import RedisLayer
from notifications.log import stream
from notifications.models import Notification, Stream
from notifications.protocol import CloseCode, Entry
from tests.database import EMBEDDED
from tests.notifications.conftest import (
    Client,
    Database,
    following,
    published_to,
    running,
    tell,
    tell_one_by_one,
)
from tests.polling import PATIENCE, apoll

pytestmark = pytest.mark.usefixtures("serving")

NEVER = 3600.0
SOON = 0.05


def in_memory() -> Any:
    # As in the settings: one channel serves a whole process, so its capacity is that of all users' hints.
    return InMemoryChannelLayer(capacity=10_000)


def redis_core() -> Any:
    # Its reader blocks for 5 s at a time; redis-py's own limit of 5 s would end it.
    host = {"address": os.environ["REDIS_URL"], "socket_timeout": 15, "socket_connect_timeout": 2}
    return RedisChannelLayer(hosts=[host])


def redis_pubsub() -> Any:
    return RedisLayer(urls=[os.environ["REDIS_URL"]])


LAYERS = [in_memory] if EMBEDDED else [in_memory, redis_core, redis_pubsub]


@pytest.fixture(params=LAYERS, ids=lambda make: make.__name__)
async def any_layer(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Each kind of layer in turn; hints are published to it."""
    layer = request.param()
    with published_to(layer):
        yield layer
    await layer.flush()


@pytest.fixture
async def layer() -> AsyncIterator[Any]:
    """The in-memory layer, for what does not depend on the kind."""
    layer = in_memory()
    with published_to(layer):
        yield layer


@pytest.fixture
async def hub(layer: Any, database: Database) -> AsyncIterator[Hub]:
    """A hub that only hints reach."""
    async with running(layer, tail_seconds=NEVER) as started:
        yield started


Hint = Callable[..., Awaitable[None]]


@pytest.fixture
def hint(layer: Any, database: Database) -> Hint:
    """Sends the hint that announced those numbers of a user's stream: again, too late, or in another order."""

    async def send(user: User, seqs: Iterable[int], **changed: Any) -> None:
        wanted = list(seqs)
        entries = (await database(stream.read_after, {user.pk: wanted[0] - 1}, limit=len(wanted)))[user.pk]
        uid = (await database(stream.position, user.pk)).uid
        message = publish.Appended(user.pk, uid, entries).message()
        await layer.group_send(publish.group_of(user.pk), {**message, **changed})

    return send


async def tell_unheard(database: Database, user: User, count: int = 1) -> None:
    """Append, and lose the hints."""
    nowhere = InMemoryChannelLayer()
    ear = await nowhere.new_channel()
    await nowhere.group_add(publish.group_of(user.pk), ear)
    with published_to(nowhere):
        for _ in range(count):
            await database(tell, user)
            await nowhere.receive(ear)  # the hint has been sent, to nobody


# Over every layer.


async def test_what_is_appended_is_delivered_without_a_tail_check(any_layer: Any, alice: User, database: Database):
    async with running(any_layer, tail_seconds=NEVER) as hub, following(hub, alice) as client:
        await database(tell, alice)
        await client.gets([1])
        await database(tell_one_by_one, alice, 20)
        await client.gets(range(1, 22))


async def test_a_client_of_a_hub_that_has_just_started_misses_no_hint(
    any_layer: Any, alice: User, bob: User, database: Database
):
    async with running(any_layer, tail_seconds=NEVER) as hub, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(following(hub, user)) for user in (alice, bob, alice)]
        await database(tell, alice)
        await database(tell, bob)
        for client in clients:
            await client.gets([1])


async def test_who_comes_back_gets_the_rest_and_then_goes_on_live(any_layer: Any, alice: User, database: Database):
    await database(tell, alice, 5)
    async with running(any_layer, tail_seconds=NEVER) as hub, following(hub, alice, after=2) as client:
        welcome = await client.greeted()
        assert (welcome["head"], welcome["after"], welcome["unread"]) == (5, 2, 5)
        await client.gets([3, 4, 5])
        await database(tell, alice)
        await client.gets([3, 4, 5, 6])


async def test_nothing_falls_between_the_replay_and_the_live_part(any_layer: Any, alice: User, database: Database):
    def has_gone_on(client: Client, seen: int) -> bool:
        return writing.done() or len(client.seqs) > seen + 20

    async with running(any_layer, tail_seconds=NEVER) as hub:
        writing = asyncio.ensure_future(database(tell_one_by_one, alice, 150))
        clients: list[Client] = []
        async with AsyncExitStack() as stack:
            while not writing.done():
                clients.append(await stack.enter_async_context(following(hub, alice, after=0)))
                await apoll(partial(has_gone_on, clients[-1], len(clients[-1].seqs)))
            for client in clients:
                await client.gets(range(1, 151))
        assert len(clients) > 1


async def test_a_lost_last_hint_is_found_by_the_tail_check(any_layer: Any, alice: User, database: Database):
    async with running(any_layer, tail_seconds=SOON) as hub, following(hub, alice) as client:
        await database(tell, alice)
        await client.gets([1])
        await tell_unheard(database, alice)
        await client.gets([1, 2])


async def test_a_lost_hint_is_noticed_at_the_next_one(any_layer: Any, alice: User, database: Database):
    async with running(any_layer, tail_seconds=NEVER) as hub, following(hub, alice) as client:
        await tell_unheard(database, alice, 2)
        await database(tell, alice)
        await client.gets([1, 2, 3])


async def test_a_stranger_gets_nothing(any_layer: Any, alice: User, bob: User, database: Database):
    async with running(any_layer, tail_seconds=SOON) as hub, following(hub, alice) as hers, following(hub, bob) as his:
        await database(tell, alice, 3, note="hers")
        await hers.gets([1, 2, 3])
        await database(tell, bob, note="his")
        await his.gets([1])
        assert [frame["note"] for frame in his.of_type("notification")] == ["his"]


async def test_a_group_that_was_left_is_joined_again(any_layer: Any, alice: User, database: Database):
    async with running(any_layer, tail_seconds=SOON) as hub:
        expected = 0
        for _ in range(5):
            async with following(hub, alice) as client:
                await database(tell, alice)
                expected += 1
                await client.gets([expected])
            await apoll(lambda: not hub._feeds, saying="the empty feed is forgotten")
        assert hub.size == 0


# What hints may do.


async def test_a_doubled_hint_is_dropped(hub: Hub, hint: Hint, alice: User, database: Database):
    async with following(hub, alice) as client:
        await database(tell, alice, 3)
        await client.gets([1, 2, 3])
        await hint(alice, [1, 2, 3])
        await hint(alice, [3])
        await database(tell, alice)
        await client.gets([1, 2, 3, 4])


async def test_hints_in_the_wrong_order_are_put_right(hub: Hub, hint: Hint, alice: User, database: Database):
    async with following(hub, alice) as client:
        await tell_unheard(database, alice, 6)
        for seqs in ([5, 6], [3], [1, 2], [4]):
            await hint(alice, seqs)
        await client.gets(range(1, 7))


async def test_a_hint_that_overlaps_what_was_seen_brings_the_rest(
    hub: Hub, hint: Hint, alice: User, database: Database
):
    async with following(hub, alice) as client:
        await database(tell, alice, 2)
        await client.gets([1, 2])
        await tell_unheard(database, alice, 2)
        await hint(alice, [1, 2, 3, 4])
        await client.gets([1, 2, 3, 4])


class ReadsOfTheLog:
    """Counts how often a hub asks the database for entries."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        self.count += sql.startswith("SELECT") and '"frame"' in sql
        return execute(sql, parameters, many, context)

    @classmethod
    async def of(cls, hub: Hub) -> "ReadsOfTheLog":
        reads = cls()
        await hub._database.run(lambda: connection.execute_wrappers.append(reads))
        return reads


async def test_live_hints_cost_no_look_at_the_log(hub: Hub, alice: User, database: Database):
    async with following(hub, alice) as client:
        reads = await ReadsOfTheLog.of(hub)
        for number in range(1, 31):
            await database(tell, alice)
            await client.gets(range(1, number + 1))
        assert reads.count == 0


async def test_a_hint_that_lies_about_the_head_causes_no_endless_reading(
    hub: Hub, hint: Hint, alice: User, database: Database
):
    async with following(hub, alice) as client:
        await database(tell, alice)
        await client.gets([1])
        reads = await ReadsOfTheLog.of(hub)
        await hint(alice, [1], head=1_000_000)
        for number in range(2, 32):
            await database(tell, alice)
            await client.gets(range(1, number + 1))
        assert 1 <= reads.count <= 5


async def test_a_log_with_a_hole_resets_its_reader_and_causes_no_endless_reading(
    hub: Hub, hint: Hint, alice: User, database: Database
):
    async with following(hub, alice) as client:
        await database(tell, alice)
        await client.gets([1])
        await tell_unheard(database, alice, 3)
        await database(Notification.objects.filter(seq__in=[2, 3]).delete)
        reads = await ReadsOfTheLog.of(hub)
        await hint(alice, [4])
        await apoll(lambda: client.of_type("reset"), saying="a reset")
        [reset] = client.of_type("reset")
        assert (reset["head"], reset["reason"]) == (4, "trimmed")
        for number in range(5, 35):
            await database(tell, alice)
            await client.gets([1, *range(5, number + 1)])
        assert reads.count <= 5


async def test_a_hint_that_makes_no_sense_does_not_end_the_listening(
    hub: Hub, layer: Any, alice: User, database: Database
):
    async with following(hub, alice) as client:
        for nonsense in (
            {"type": "stream.appended"},
            {"type": "stream.appended", "user": alice.pk, "uid": "x", "head": "7", "entries": None},
            {"type": "stream.from_the_future", "user": alice.pk},
            {},
        ):
            await layer.group_send(publish.group_of(alice.pk), nonsense)
        await database(tell, alice)
        await client.gets([1])


async def test_a_stream_that_was_begun_anew_resets_who_follows_it(
    hub: Hub, hint: Hint, alice: User, database: Database
):
    async with following(hub, alice) as client:
        await database(tell, alice, 3)
        await client.gets([1, 2, 3])
        await database(Stream.objects.filter(user=alice).delete)
        await database(tell, alice, 4)
        await apoll(lambda: client.of_type("reset"), saying="a reset")
        [reset] = client.of_type("reset")
        assert (reset["head"], reset["reason"]) == (4, "unknown_stream")
        assert reset["stream"] == (await database(stream.position, alice.pk)).uid
        await database(tell, alice)
        await client.gets([1, 2, 3, 5])


# Who comes with a position.


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
    monkeypatch.setattr(hub_module, "MAX_REPLAY", 2)
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
    monkeypatch.setattr(hub_module, "MAX_REPLAY", 2)
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
    monkeypatch.setattr(hub_module, "READ_TOGETHER", 2)
    await database(tell, alice, 3)
    await database(tell, bob, 2)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(following(hub, user, after=0)) for user in [alice, bob] * 4]
        for number, client in enumerate(clients):
            await client.gets([1, 2] if number % 2 else [1, 2, 3])


# Slow readers.


async def test_a_slow_reader_delays_nobody_is_bounded_and_gets_everything_later(
    hub: Hub, alice: User, bob: User, database: Database
):
    count = 4 * outbox.MAX_FRAMES
    async with following(hub, alice) as slow, following(hub, alice) as fast:
        slow.reads.clear()
        await database(tell_one_by_one, alice, count)
        await fast.gets(range(1, count + 1))
        assert len(slow.subscriber.outbox._frames) <= outbox.MAX_FRAMES
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
        assert sum(len(frame) for frame in slow.subscriber.outbox._frames) <= outbox.MAX_CHARACTERS + 51_000
        slow.reads.set()
        await slow.gets(range(1, 7))


async def test_a_frame_larger_than_the_bound_is_delivered_all_the_same(hub: Hub, alice: User, database: Database):
    async with following(hub, alice) as client:
        await database(tell, alice, note="x" * (2 * outbox.MAX_CHARACTERS))
        await client.gets([1])


async def test_a_client_that_does_not_read_is_let_go(
    hub: Hub, alice: User, database: Database, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.STALL_SECONDS = 1
    monkeypatch.setattr(hub_module, "STALL_CHECK_SECONDS", 1)
    async with following(hub, alice) as slow, following(hub, alice) as fast:
        slow.reads.clear()
        await database(tell, alice)
        await fast.gets([1])
        assert await slow.closed() is CloseCode.TOO_SLOW
        assert not fast.subscriber.closed.done()


async def test_a_client_that_answers_no_ping_is_let_go(
    layer: Any, alice: User, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hub_module, "PING_SECONDS", 1)
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running(layer, tail_seconds=NEVER))
        silent = await stack.enter_async_context(following(hub, alice))
        answering = await stack.enter_async_context(following(hub, alice))
        assert (await silent.greeted())["ping_seconds"] == 1

        def pinged_thrice() -> bool:
            answering.subscriber.pong()
            return len(answering.of_type("ping")) >= 3

        await database(tell, alice)
        await apoll(pinged_thrice, saying="three pings")
        assert answering.of_type("ping")[-1] == {"type": "ping", "head": 1}
        assert await silent.closed() is CloseCode.NO_PONG
        assert not answering.subscriber.closed.done()


# Other tabs, other users.


async def test_what_one_tab_has_read_is_told_to_all(hub: Hub, alice: User, bob: User, database: Database):
    async with following(hub, alice) as one, following(hub, alice) as other, following(hub, bob) as stranger:
        await database(tell, alice, 3)
        await database(stream.mark_read, alice.pk, 2)
        for tab in (one, other):
            await apoll(partial(tab.of_type, "read"), saying="the reading mark")
            assert tab.of_type("read") == [{"type": "read", "up_to": 2, "unread": 1}]
        assert stranger.of_type("read") == []


async def test_a_user_who_is_deleted_stops_nobody_else(
    hub: Hub, layer: Any, alice: User, bob: User, database: Database
):
    async with following(hub, alice) as hers, following(hub, bob) as his:
        # By SQL, as a clean-up by hand would do it: nobody is told.
        last_hint = publish.Appended(bob.pk, "his", [Entry(1, "{}")]).message()
        await database(Stream.objects.filter(user=bob)._raw_delete, "default")
        await database(User.objects.filter(pk=bob.pk)._raw_delete, "default")
        await layer.group_send(publish.group_of(bob.pk), last_hint)
        await tell_unheard(database, alice)
        await database(tell, alice)  # not the next: the log has to be read, for both of them
        await hers.gets([1, 2])
        assert await his.closed() is CloseCode.REVOKED


class Hanging(InMemoryChannelLayer):
    """A layer that serves until it is told to hang, and then answers nothing any more."""

    hangs = False

    async def group_add(self, group: str, channel: str) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        await super().group_discard(group, channel)


async def test_a_layer_that_hangs_does_not_hold_up_the_tail_check(alice: User, database: Database):
    # If leaving each group took its whole time-out, this would take several times a test's patience.
    users = [await database(User.objects.create, username=f"customer{number}") for number in range(60)]
    layer = Hanging()
    async with running(layer, tail_seconds=2 * SOON) as hub, following(hub, alice) as client:
        async with AsyncExitStack() as stack:
            for user in users:
                await stack.enter_async_context(following(hub, user))
            layer.hangs = True
        for number in range(1, 6):
            await tell_unheard(database, alice)
            await client.gets(range(1, number + 1))


async def test_who_comes_while_the_layer_hangs_is_served_by_the_tail_check(alice: User, database: Database):
    # If each of these waited for its group, they would take several times a test's patience.
    users = [await database(User.objects.create, username=f"customer{number}") for number in range(60)]
    layer = Hanging()
    async with running(layer, tail_seconds=SOON) as hub, AsyncExitStack() as stack:
        layer.hangs = True
        async with asyncio.timeout(PATIENCE):
            for user in users:
                await stack.enter_async_context(following(hub, user))
        client = await stack.enter_async_context(following(hub, alice))
        await database(tell, alice)
        await client.gets([1])
        layer.hangs = False
        await apoll(lambda: publish.group_of(alice.pk) in layer.groups, saying="the group is joined late")
