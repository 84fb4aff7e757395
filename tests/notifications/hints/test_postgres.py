"""Hints over PostgreSQL alone: heard by those whom they are for, in order, through whatever happens to the server."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

from notifications.hints import postgres_link
from notifications.hints.messages import Appended, Touched
from notifications.hints.postgres import MAX_PAYLOAD, PostgresLayer, payloads
from notifications.hints.publish import Resting
from notifications.protocol import Entry
from tests.database import on_postgres
from tests.notifications.hints.test_layers import listening, say
from tests.polling import PATIENCE, apoll
from tests.servers import Postgres

pytestmark = on_postgres

OURS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"


@pytest.fixture(scope="module")
def shared() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def server(shared: Postgres) -> Postgres:
    """A PostgreSQL that nobody else is connected to, and that a test leaves as it was."""
    return shared


def layer_on(server: Postgres, **options: Any) -> PostgresLayer:
    return PostgresLayer(conninfo_to_dict(server.url), **options)


def ask(server: Postgres, statement: str) -> list[Any]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        return [row[0] for row in connection.execute(statement).fetchall()]


@asynccontextmanager
async def saying(server: Postgres, **options: Any) -> AsyncIterator[PostgresLayer]:
    """Another process's layer, which hears nothing."""
    layer = layer_on(server, **options)
    yield layer
    await layer.flush()


async def arrives(layer: Any, group: str, text: str, heard: list[str]) -> None:
    """Say it until it is heard: a hint to a server that is coming back may be lost."""

    async def said_and_heard() -> bool:
        try:
            await say(layer, group, text)
        except Resting:
            return False
        return text in heard

    await apoll(said_and_heard, saying=f"{text} is heard")


async def test_messages_arrive_at_all_members_in_their_order_and_at_nobody_else(server: Postgres):
    async with (
        saying(server) as layer,
        listening(layer_on(server), "user.1") as one,
        listening(layer_on(server), "user.1", "user.2") as two,
        listening(layer_on(server), "user.3") as other,
    ):
        texts = [f"{number} \u2713 ' \x00 \\ {'x' * (number * 17)}" for number in range(300)]
        await asyncio.gather(*(say(layer, "user.1", text) for text in texts))
        await say(layer, "user.3", "the last one")
        await apoll(lambda: (len(one.heard), len(two.heard), len(other.heard)) == (300, 300, 1))
        assert one.heard == two.heard == texts


async def test_deployments_in_one_database_differ_in_their_prefix(server: Postgres):
    async with (
        saying(server, prefix="shop") as shop,
        saying(server, prefix='Staging "2"') as staging,
        listening(layer_on(server, prefix="shop"), "user.1") as hers,
        listening(layer_on(server, prefix='Staging "2"'), "user.1") as theirs,
    ):
        await say(staging, "user.1", "of staging")
        await say(shop, "user.1", "of the shop")
        await apoll(lambda: hers.heard and theirs.heard)
        assert (hers.heard, theirs.heard) == (["of the shop"], ["of staging"])


async def test_loops_of_one_process_have_a_connection_each(server: Postgres):
    layer = layer_on(server)

    async def say_elsewhere() -> None:
        await say(layer, "user.1", "from another loop")
        await layer.flush()

    async with listening(layer, "user.1") as ear:
        with ThreadPoolExecutor(1) as thread:
            await asyncio.get_running_loop().run_in_executor(thread, asyncio.run, say_elsewhere())
        await apoll(lambda: ear.heard == ["from another loop"])


async def test_a_group_that_was_left_is_heard_no_more(server: Postgres):
    layer = layer_on(server)
    async with listening(layer, "user.1", "user.2") as ear:
        await layer.group_discard("user.1", ear.channel)
        await layer.group_discard("user.1", ear.channel)
        await say(layer, "user.1", "unheard")
        await say(layer, "user.2", "heard")
        await apoll(lambda: ear.heard == ["heard"])


async def test_one_connection_listens_and_nothing_is_left_behind(server: Postgres):
    layer = layer_on(server)
    async with listening(layer, "user.1", "user.2"), listening(layer, "user.3"):
        await say(layer, "user.1", "once")
        assert len(ask(server, OURS)) == 1
    await apoll(lambda: not ask(server, OURS))
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "postgres-hints"]


async def test_a_connection_that_is_ended_is_opened_anew(server: Postgres, caplog: pytest.LogCaptureFixture):
    async with saying(server) as layer, listening(layer_on(server), "user.1") as ear:
        await arrives(layer, "user.1", "before", ear.heard)
        ended = ask(server, OURS)
        ask(server, f"SELECT pg_terminate_backend(pid) FROM ({OURS}) AS ours")
        await arrives(layer, "user.1", "after", ear.heard)
        assert not set(ended) & set(ask(server, OURS))
    assert "the tail check delivers: OperationalError" in caplog.text


async def test_a_postgres_that_hangs_holds_nobody_up_and_is_heard_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgres_link, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(postgres_link, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(postgres_link, "PING_SECONDS", 0.5)
    with Postgres() as server:
        hearing = layer_on(server)
        async with saying(server) as layer, listening(hearing, "user.1") as ear:
            await arrives(layer, "user.1", "before", ear.heard)
            backends = ask(server, OURS)
            for pid in [server.pid, *backends]:
                os.kill(pid, signal.SIGSTOP)
            try:
                for _ in range(3):
                    with pytest.raises(Resting):
                        await asyncio.wait_for(say(layer, "user.1", "lost"), PATIENCE)
                await apoll(lambda: not hearing.hears, saying="nobody says anything, and it is noticed all the same")
            finally:
                for pid in [*backends, server.pid]:
                    os.kill(pid, signal.SIGCONT)
            await apoll(lambda: hearing.hears)
            await arrives(layer, "user.1", "after", ear.heard)


async def test_a_postgres_that_was_away_is_heard_when_it_comes():
    with Postgres() as server:
        server.stop()
        layer = layer_on(server)
        with pytest.raises(Resting):
            await say(layer, "user.1", "lost")
        opening = asyncio.create_task(layer.new_channel())
        await apoll(lambda: not layer.hears)
        server.start()
        channel = await asyncio.wait_for(opening, PATIENCE)
        await layer.group_add("user.1", channel)
        await say(layer, "user.1", "heard")
        assert (await asyncio.wait_for(layer.receive(channel), PATIENCE))["text"] == "heard"
        await layer.flush()


async def test_what_others_notify_ends_nothing(server: Postgres, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    layer = layer_on(server)
    async with listening(layer, "user.1") as ear:
        for payload in ("", "nonsense", "+user.1", "+user.1 {", "+user.1 []", '+user.1 {"type": 1}', "+user.2 {}"):
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute("SELECT pg_notify('orderwire', %s)", [payload])
        await say(layer, "user.1", "heard")
        await apoll(lambda: ear.heard == ["heard"])
    assert caplog.text.count("is not one of ours") == 4


async def test_a_notification_is_not_carried_and_cannot_be_forged(server: Postgres):
    layer = layer_on(server)
    channel = await layer.new_channel()
    await layer.group_add("user.1", channel)
    hint = Appended(1, "uid", [Entry(seq=7, frame="secret")]).message()
    assert "secret" not in "".join(payloads("+user.1", hint))
    with psycopg.connect(server.url, autocommit=True) as connection:
        forged = '+user.1 {"type": "stream.appended", "head": 7, "entries": [[7, "forged"]]}'
        connection.execute("SELECT pg_notify('orderwire', %s)", [forged])
    heard = await asyncio.wait_for(layer.receive(channel), PATIENCE)
    assert (heard["head"], heard["entries"]) == (7, [])
    await layer.flush()


async def test_many_keys_are_divided_and_what_cannot_be_is_refused(server: Postgres):
    keys = [f"SO-{number:06}-{'x' * 50}" for number in range(1_000)]
    layer = layer_on(server)
    channel = await layer.new_channel()
    await layer.group_add("orders", channel)
    await layer.group_send("orders", Touched("orders", keys).message())
    heard: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while len(heard) < len(keys):
            heard += (await layer.receive(channel))["keys"]
    assert heard == keys
    with pytest.raises(ValueError, match="too large for NOTIFY"):
        await say(layer, "orders", "x" * MAX_PAYLOAD)
    fits = MAX_PAYLOAD - len(payloads("+orders", {"type": "test", "text": ""})[0])
    await say(layer, "orders", "x" * fits)
    assert len((await asyncio.wait_for(layer.receive(channel), PATIENCE))["text"]) == fits
    await layer.flush()


@pytest.mark.parametrize("prefix", ["", "x" * 64])
def test_a_name_that_postgres_would_refuse_is_refused_at_the_start(prefix: str):
    with pytest.raises(ImproperlyConfigured, match="63 bytes"):
        PostgresLayer({}, prefix=prefix)
