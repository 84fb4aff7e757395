"""Frames of the application's own: who handles them, how long and how many they may be, and what answers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from channels.layers import get_channel_layer
from django.db import connection

from notifications import protocol
from notifications.access.credentials import Credential
from notifications.delivery.topic import Topic
from notifications.hints import publish
from notifications.log import stream
from notifications.protocol import BadFrame, Refusal
from notifications.sockets.inbound import ClientFrame
from tests.notifications.conftest import Database
from tests.notifications.sockets.conftest import an_engine

Users = Callable[..., Any]


def answering(credential: Credential, fields: Mapping[str, Any]) -> str | None:
    """Says who asked, and refuses or complains when told to; asks the database, as handlers do."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    match fields.get("text"):
        case "refuse":
            raise Refusal("closed", "Nobody is here.", retry_after=60)
        case "complain":
            raise BadFrame("nonsense", "What is that?")
        case "silence":
            return None
    return protocol.frame("noted", by=credential.username, text=fields.get("text"))


NOTE = ClientFrame("note", take=answering, max_characters=6_000, rate=(12, 3_600.0))


async def test_a_frame_is_handled_for_who_sent_it_and_answered_to_that_connection_alone(
    database: Database, users: Users
):
    [alice] = await users("alice")
    async with an_engine(frames=[NOTE]) as engine, engine.connect(alice) as here, engine.connect(alice) as there:
        here.says("note", text="silence")
        here.says("note", text="x" * 5_000)
        [answer] = await here.gets("noted")
        assert (answer["by"], len(answer["text"])) == ("alice", 5_000)
        there.says("note", text="there")
        assert [frame["text"] for frame in await there.gets("noted")] == ["there"]


async def test_a_refusal_names_its_frame_and_ends_nothing(database: Database, users: Users):
    [alice] = await users("alice")
    async with an_engine(frames=[NOTE]) as engine, engine.connect(alice) as socket:
        for number in range(11):
            socket.says("note", text="refuse", client_id=f"c-{number}")
        refused = await socket.gets("error", 11)
        assert refused[10] == {
            "type": "error",
            "code": "closed",
            "detail": "Nobody is here.",
            "client_id": "c-10",
            "retry_after": 60,
        }
        socket.says("note", text="Still here")
        await socket.gets("noted")


async def test_the_tenth_frame_that_makes_no_sense_ends_the_connection(database: Database, users: Users):
    [alice] = await users("alice")
    async with an_engine(frames=[NOTE]) as engine, engine.connect(alice) as socket:
        for _ in range(9):
            socket.says("note", text="complain")
        assert (await socket.gets("error", 9))[0]["code"] == "nonsense"
        assert socket.code is None
        socket.says("unheard-of")
        assert await socket.closed() == 4501
        assert "note" in socket.of_type("error")[-1]["detail"]


async def test_too_many_frames_of_a_type_are_refused_with_the_time_to_wait(database: Database, users: Users):
    [alice] = await users("alice")
    async with an_engine(frames=[NOTE]) as engine, engine.connect(alice) as socket:
        for number in range(13):
            socket.says("note", text=str(number), client_id=str(number))
        [refused] = await socket.gets("error")
        assert (refused["code"], refused["client_id"]) == ("rate", "12")
        assert 1 <= refused["retry_after"] <= 300
        assert len(await socket.gets("noted", 12)) == 12


async def test_a_frame_that_is_too_long_is_not_even_parsed(database: Database, users: Users):
    [alice] = await users("alice")
    async with an_engine(frames=[NOTE]) as engine, engine.connect(alice) as socket:
        socket.says_text("[" * 6_001)
        socket.says("note", text="x" * 6_000)
        socket.says("pong", padding="x" * 4_096)
        assert {frame["code"] for frame in await socket.gets("error", 3)} == {"too_long"}


async def test_what_is_said_aside_reaches_all_clients_of_the_user_and_nobody_else(database: Database, users: Users):
    alice, bob = await users("alice", "bob")
    uid = (await database(stream.position, alice.pk)).uid
    async with (
        an_engine() as engine,
        engine.connect(alice) as here,
        engine.connect(alice) as there,
        engine.connect(bob) as bobs,
    ):
        # Another deployment's user of the same key is nobody's here, and the protocol's own frames are no asides.
        await database(publish.on_commit, publish.Aside(alice.pk, "another", "typing", {"who": "nobody"}))
        await database(publish.on_commit, publish.Aside(alice.pk, uid, "notification", {"seq": 1}))
        await database(publish.on_commit, publish.Aside(alice.pk, uid, "typing", {"who": "ada"}))
        for socket in (here, there):
            assert await socket.gets("typing") == [{"type": "typing", "who": "ada"}]
            assert not socket.of_type("notification")
        assert {frame["type"] for frame in bobs.frames} <= {"welcome", "ping"}
    # Nothing of it was kept.
    async with an_engine() as engine, engine.connect(alice, query="after=0") as later:
        assert {frame["type"] for frame in later.frames} <= {"welcome", "ping"}


async def test_what_is_said_aside_to_a_topic_reaches_its_watchers(database: Database, users: Users):
    [alice] = await users("alice")
    things = Topic(name="things", admits=lambda users: users, changed_since=lambda _: {}, states=lambda _: {})
    async with (
        an_engine(topics=[things]) as engine,
        engine.connect(alice, topic="things") as watching,
        engine.connect(alice) as other,
    ):
        layer = get_channel_layer()
        for forged in ({"type": "topic.aside"}, {"type": "topic.aside", "of": "error", "fields": {}}):
            await layer.group_send("things", forged)
        await database(publish.on_commit, publish.TopicAside("things", "typing", {"who": "ada"}))
        assert await watching.gets("typing") == [{"type": "typing", "who": "ada"}]
        assert not watching.of_type("error")
        assert not other.of_type("typing")
