"""A channel layer that hangs holds up nobody."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from channels.layers import InMemoryChannelLayer
from django.contrib.auth.models import User

from notifications.hints import publish
from tests.notifications.conftest import Database, following, running, tell
from tests.notifications.delivery.conftest import SOON, tell_unheard
from tests.polling import PATIENCE, apoll

pytestmark = pytest.mark.usefixtures("serving")


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
