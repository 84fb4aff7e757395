"""Pings, what they carry, and clients that are let go of."""

import asyncio
import threading
from contextlib import AsyncExitStack
from typing import Any

import pytest
from django.contrib.auth.models import User

from notifications.delivery import upkeep
from notifications.delivery.hub import Hub
from notifications.hints.faults import FaultyLayer
from notifications.log import stream
from notifications.protocol import CloseCode
from tests.notifications.conftest import Database, following, published_to, running, tell
from tests.notifications.delivery.conftest import NEVER, tell_unheard
from tests.polling import apoll

pytestmark = pytest.mark.usefixtures("serving")


async def test_a_client_that_does_not_read_is_let_go(
    hub: Hub, alice: User, database: Database, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.STALL_SECONDS = 1
    monkeypatch.setattr(upkeep, "STALL_CHECK_SECONDS", 1)
    async with following(hub, alice) as slow, following(hub, alice) as fast:
        slow.reads.clear()
        await database(tell, alice)
        await fast.gets([1])
        assert await slow.closed() is CloseCode.TOO_SLOW
        assert not fast.subscriber.closed.done()


async def test_a_client_that_answers_no_ping_is_let_go(
    layer: Any, alice: User, database: Database, monkeypatch: pytest.MonkeyPatch
):
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running(layer, tail_seconds=NEVER, ping_seconds=1))
        silent = await stack.enter_async_context(following(hub, alice))
        answering = await stack.enter_async_context(following(hub, alice))
        assert (await silent.greeted())["ping_seconds"] == 1

        def pinged_thrice() -> bool:
            answering.subscriber.pong()
            return len(answering.of_type("ping")) >= 3

        await database(tell, alice)
        await apoll(pinged_thrice, saying="three pings")
        assert answering.of_type("ping")[-1] == {"type": "ping", "head": 1, "read_up_to": 0}
        assert await silent.closed() is CloseCode.NO_PONG
        assert not answering.subscriber.closed.done()


# What no hint told.


async def test_a_reading_mark_whose_hint_is_lost_is_told_by_the_next_ping(layer: Any, alice: User, database: Database):
    await database(tell, alice, 3)
    async with running(layer, tail_seconds=NEVER, ping_seconds=1) as hub, following(hub, alice) as tab:
        await apoll(lambda: tab.of_type("ping"), saying="a ping")
        tab.subscriber.pong()
        with published_to(FaultyLayer(layer, lose="stream.read")):
            await database(stream.mark_read, alice.pk, 2)

        def pinged_with_the_mark() -> bool:
            tab.subscriber.pong()
            return bool(tab.of_type("ping")[-1]["read_up_to"] == 2)

        await apoll(pinged_with_the_mark, saying="a ping that says what was read")
        assert tab.of_type("read") == [{"type": "read", "up_to": 2, "unread": 1}]


async def test_a_window_that_opens_tells_the_others_what_its_reading_of_the_log_shows(
    hub: Hub, layer: Any, alice: User, database: Database
):
    async with following(hub, alice) as tab:
        await tell_unheard(database, alice, 3)
        with published_to(FaultyLayer(layer, lose="stream.read")):
            await database(stream.mark_read, alice.pk, 2)
        async with following(hub, alice) as another:
            assert (await another.greeted())["unread"] == 1
            await tab.gets([1, 2, 3])
            await apoll(lambda: tab.of_type("read"), saying="the reading mark")
            assert another.of_type("read") == []


async def test_a_stream_that_is_begun_anew_is_noticed_without_anything_new_in_it(
    layer: Any, alice: User, database: Database
):
    await database(tell, alice, 3)
    async with running(layer, tail_seconds=NEVER, ping_seconds=1) as hub, following(hub, alice) as tab:
        await database(stream.restart_all)

        def is_reset() -> bool:
            tab.subscriber.pong()
            return bool(tab.of_type("reset"))

        await apoll(is_reset, saying="a reset")
        assert tab.of_type("reset")[0]["reason"] == "unknown_stream"


async def test_a_database_that_is_away_delays_no_ping(layer: Any, alice: User, database: Database):
    async with running(layer, tail_seconds=NEVER, ping_seconds=1) as hub, following(hub, alice) as tab:
        hangs = threading.Event()
        waiting = asyncio.ensure_future(hub._log.database.run(hangs.wait))
        try:
            count = len(tab.of_type("ping"))

            def pinged_twice_more() -> bool:
                tab.subscriber.pong()
                return len(tab.of_type("ping")) >= count + 2

            await apoll(pinged_twice_more, saying="two pings")
        finally:
            hangs.set()
            await waiting
