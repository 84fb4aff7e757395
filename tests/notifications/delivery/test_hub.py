"""The hub, over every kind of channel layer: each client holds its user's stream in order, once, whatever hints do."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import ManyToOneRel
from django.utils import timezone

from notifications.delivery.hub import Hub
from notifications.hints import publish
from notifications.log import stream
from notifications.models import Notification, Stream
from notifications.protocol import CloseCode, Entry
from tests.notifications.conftest import Client, Database, following, running, tell, tell_one_by_one
from tests.notifications.delivery.conftest import NEVER, SOON, Hint, ReadsOfTheLog, tell_unheard
from tests.polling import apoll

pytestmark = pytest.mark.usefixtures("serving")


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


# Other tabs, other users.


async def test_what_one_tab_has_read_is_told_to_all(hub: Hub, alice: User, bob: User, database: Database):
    async with following(hub, alice) as one, following(hub, alice) as other, following(hub, bob) as stranger:
        await database(tell, alice, 3)
        await database(stream.mark_read, alice.pk, 2)
        for tab in (one, other):
            await apoll(partial(tab.of_type, "read"), saying="the reading mark")
            assert tab.of_type("read") == [{"type": "read", "up_to": 2, "unread": 1}]
        assert stranger.of_type("read") == []


async def test_hints_of_another_deployments_user_with_the_same_key_are_nobodys(
    hub: Hub, layer: Any, alice: User, database: Database
):
    async with following(hub, alice) as client:
        later = timezone.now().timestamp() + 60
        for foreign in (publish.ReadUpTo(alice.pk, "another", 7, 7), publish.Revoked(alice.pk, "", later, "another")):
            await layer.group_send(foreign.group, foreign.message())
        await database(tell, alice)
        await client.gets([1])
        assert client.of_type("read") == []
        assert not client.subscriber.closed.done()


async def test_a_forged_number_that_jumps_is_not_believed_and_hides_no_true_one(
    hub: Hub, hint: Hint, alice: User, database: Database
):
    async with following(hub, alice) as client:
        await database(tell, alice)
        await client.gets([1])
        await hint(alice, [1], head=1_000_000, entries=[(1_000_000, '{"type": "notification", "seq": 1000000}')])
        await database(tell, alice, 2)
        await client.gets([1, 2, 3])


async def test_a_user_who_is_deleted_stops_nobody_else(
    hub: Hub, layer: Any, alice: User, bob: User, database: Database
):
    async with following(hub, alice) as hers, following(hub, bob) as his:
        # By SQL, as a clean-up by hand would do it: nobody is told.
        last_hint = publish.Appended(bob.pk, "his", [Entry(1, "{}")]).message()
        await database(erase, bob)
        await layer.group_send(publish.group_of(bob.pk), last_hint)
        await tell_unheard(database, alice)
        await database(tell, alice)  # not the next: the log has to be read, for both of them
        await hers.gets([1, 2])
        assert await his.closed() is CloseCode.REVOKED


def erase(user: User) -> None:
    """Delete a user and the rows that refer to it, whoever keeps them, without a signal."""
    for kept in User._meta.get_fields(include_hidden=True):
        if isinstance(kept, ManyToOneRel):
            kept.related_model._base_manager.filter(**{kept.field.name: user.pk})._raw_delete("default")
    User.objects.filter(pk=user.pk)._raw_delete("default")
