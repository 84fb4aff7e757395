"""Talking over a socket: what is kept and told to whom, and that a stranger neither says nor hears anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from notifications.log import stream
from orders import conversation
from orders.board import BOARD, board
from orders.frames import FRAMES, MAX_MESSAGE_FRAME
from orders.messages import Message, Side
from orders.models import Order
from orders.notify import PREVIEW
from tests.asyncapi import check
from tests.notifications.conftest import Database, published_to
from tests.notifications.delivery.conftest import in_memory
from tests.notifications.sockets.conftest import Engine, Socket, an_engine
from tests.orders.conftest import make_order
from tests.polling import apoll

#: What alice has written, and nobody but the staff may learn.
SECRET = "I am at 5 Elm Street"


class Shop:
    """An engine with the frames and the board, the cast, and SO-1, alice's."""

    def __init__(self, engine: Engine, database: Database) -> None:
        self.engine, self.database = engine, database
        self.connect = engine.connect
        self.alice: User
        self.bob: User
        self.staff: User
        self.order: Order

    def prepare(self) -> None:
        self.alice, self.bob, self.staff = (User.objects.create_user(name) for name in ("alice", "bob", "staff"))
        names = ("view_order", "reply_to_order")
        self.staff.user_permissions.set(Permission.objects.filter(codename__in=names))
        self.order = make_order()
        make_order("SO-BOB", "bob")

    async def write(self, author: User, text: str, **fields: Any) -> Message:
        """As over HTTP."""

        def written() -> Message:
            return conversation.write(order=self.order, author=author, text=text, **fields).message

        return await self.database(written)

    async def kept(self) -> list[tuple[str, str]]:
        """Sides and texts of the conversation, oldest first."""
        return await self.database(lambda: list(Message.objects.order_by("pk").values_list("side", "text")))


@pytest.fixture
async def shop(transactional_db: None) -> AsyncIterator[Shop]:
    database = Database()
    async with an_engine(topics=[board], frames=FRAMES) as engine:
        opened = Shop(engine, database)
        await database(opened.prepare)
        yield opened
    await database.threads.close()


@asynccontextmanager
async def all_three(shop: Shop) -> AsyncIterator[tuple[Socket, Socket, Socket]]:
    """alice and bob on their streams, staff on the board."""
    async with (
        shop.connect(shop.alice) as alice,
        shop.connect(shop.bob) as bob,
        shop.connect(shop.staff, topic=BOARD) as staff,
    ):
        yield alice, bob, staff


async def tells(socket: Socket, type_: str, **fields: Any) -> dict[str, Any]:
    """Wait for a frame of that type with these fields."""

    def found() -> list[dict[str, Any]]:
        return [frame for frame in socket.of_type(type_) if fields.items() <= frame.items()]

    await apoll(found, saying=lambda: f"{type_} {fields}, not {socket.frames}")
    return found()[0]


async def test_a_question_is_acknowledged_and_shows_on_the_board_and_the_answer_is_a_notification(shop: Shop):
    async with all_three(shop) as (alice, bob, staff):
        alice.says("message", order="SO-1", text="Where is it?", client_id="a-1")
        acknowledged = await tells(alice, "message", client_id="a-1")
        check(acknowledged)
        question = await tells(staff, "message", order="SO-1", side="customer")
        check(question)
        assert question["id"] == acknowledged["id"]
        assert question["client_id"] is None

        staff.says("message", order="SO-1", text="In the van.\n\nAt five.", client_id="s-1")
        [answer] = await alice.gets("notification")
        check(answer)
        assert (answer["kind"], answer["order"]["number"]) == ("order.message", "SO-1")
        assert answer["note"] == "In the van. At five."
        newest = await tells(staff, "message", order="SO-1", side="staff", client_id=None)
        assert answer["message"] == {"id": newest["id"], "side": "staff"}
        assert {frame["type"] for frame in bob.frames} <= {"welcome", "ping"}
    assert await shop.kept() == [("customer", "Where is it?"), ("staff", "In the van.\n\nAt five.")]


async def test_the_customers_other_windows_hear_of_what_this_one_wrote_and_it_is_no_news(shop: Shop):
    async with shop.connect(shop.alice) as here, shop.connect(shop.alice) as there:
        here.says("message", order="SO-1", text="Where is it?", client_id="a-1")
        [told] = await there.gets("message")
        check(told)
        assert (told["order"], told["side"], told["client_id"]) == ("SO-1", "customer", "a-1")
    position = await shop.database(stream.position, shop.alice.pk)
    # The order itself was news.
    assert (position.head, position.unread) == (1, 1)


async def test_a_message_that_is_sent_again_is_kept_once_and_acknowledged_again(shop: Shop):
    async with shop.connect(shop.alice) as alice:
        alice.says("message", order="SO-1", text="Where is it?", client_id="a-1")
        await alice.gets("message", 1)
    # The connection was lost before the answer came, and the page tries over HTTP and over another socket.
    await shop.write(shop.alice, "Where is it?", client_id="a-1")
    async with shop.connect(shop.alice) as alice:
        alice.says("message", order="SO-1", text="Where is it?", client_id="a-1")
        [acknowledged] = await alice.gets("message", 1)
        alice.says("message", order="SO-1", text="Something else", client_id="a-1")
        [refused] = await alice.gets("error")
        check(refused)
        assert (refused["code"], refused["client_id"]) == ("client_id_reused", "a-1")
    assert await shop.kept() == [("customer", "Where is it?")]
    assert acknowledged["client_id"] == "a-1"


async def test_answers_that_came_while_nobody_was_there_are_replayed_without_a_gap(shop: Shop):
    async with shop.connect(shop.alice) as alice:
        head = alice.frames[0]["head"]
    for number in range(3):
        await shop.write(shop.staff, f"Part {number}")
    async with shop.connect(shop.alice, query=f"after={head}") as alice:
        await shop.write(shop.staff, "Part 3")
        told = await alice.gets("notification", 4)
        assert [frame["seq"] for frame in told] == [head + 1, head + 2, head + 3, head + 4]
        assert [frame["note"] for frame in told] == [f"Part {number}" for number in range(4)]
        assert {frame["kind"] for frame in told} == {"order.message"}


async def test_a_notification_repeats_no_more_than_the_beginning_of_a_message(shop: Shop):
    await shop.write(shop.staff, "word " * 399)
    [entry] = (await shop.database(stream.read_after, {shop.alice.pk: 1}))[shop.alice.pk]
    async with shop.connect(shop.alice, query="after=1") as alice:
        [told] = await alice.gets("notification")
    assert len(told["note"]) == PREVIEW
    assert told["note"].endswith("…")
    assert "word " * 40 not in entry.frame


async def test_typing_is_told_to_the_other_side_and_kept_nowhere(shop: Shop):
    async with all_three(shop) as (alice, bob, staff):
        alice.says("typing", order="SO-1")
        [told] = await staff.gets("typing")
        check(told)
        assert told == {"type": "typing", "order": "SO-1", "who": "customer"}
        staff.says("typing", order="SO-1")
        assert await alice.gets("typing") == [{"type": "typing", "order": "SO-1", "who": "staff"}]
        assert not bob.of_type("typing")
    assert await shop.kept() == []
    assert (await shop.database(stream.position, shop.alice.pk)).head == 1


async def test_typing_without_end_is_refused_and_closes_nothing(shop: Shop):
    async with shop.connect(shop.alice) as alice:
        for _ in range(20):
            alice.says("typing", order="SO-1")
        refused = await alice.gets("error", 15)
        assert {frame["code"] for frame in refused} == {"rate"}
        assert all(frame["retry_after"] >= 1 for frame in refused)
        assert alice.code is None


async def test_the_limit_of_an_author_holds_for_sockets_and_http_together(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(conversation.RATE, Side.CUSTOMER, 3)
    await shop.write(shop.alice, "One")
    async with shop.connect(shop.alice) as here, shop.connect(shop.alice) as there:
        here.says("message", order="SO-1", text="Two", client_id="2")
        await here.gets("message")
        there.says("message", order="SO-1", text="Three", client_id="3")
        await there.gets("message", 2)
        here.says("message", order="SO-1", text="Four", client_id="4")
        [refused] = await here.gets("error")
        check(refused)
        assert (refused["code"], refused["client_id"]) == ("throttled", "4")
        assert 1 <= refused["retry_after"] <= 60
    assert len(await shop.kept()) == 3


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"order": "SO-1"}, "invalid_field"),
        ({"order": "SO-1", "text": 7}, "invalid_field"),
        ({"order": "SO-1", "text": "Hello", "client_id": 7}, "invalid_field"),
        ({"order": "SO-1", "text": " "}, "blank"),
        ({"order": "SO-1", "text": "x" * 2_001}, "max_length"),
        ({"order": "SO-1", "text": "a\x00b"}, "control_character"),
        ({"order": "SO-1", "text": "Hello", "client_id": "ö"}, "invalid"),
        ({"text": "Hello"}, "not_found"),
        ({"order": ["SO-1"], "text": "Hello"}, "not_found"),
        ({"order": "SO-404", "text": "Hello"}, "not_found"),
        ({"order": "x" * 900, "text": "Hello"}, "not_found"),
        ({"order": "SO-1\x00", "text": "Hello"}, "not_found"),
        ({"order": "SO-1", "text": "x" * MAX_MESSAGE_FRAME}, "too_long"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_frame_that_is_no_message_is_refused(shop: Shop, fields: dict[str, Any], code: str):
    async with shop.connect(shop.alice) as alice:
        alice.says("message", **fields)
        [refused] = await alice.gets("error")
        check(refused)
        assert refused["code"] == code
        # Halves of surrogate pairs can be written in JSON, and nowhere else.
        alice.says_text('{"type":"message","order":"\\ud800","text":"\\ud800","client_id":"\\ud800"}')
        await alice.gets("error", 2)
    assert await shop.kept() == []


async def test_two_thousand_characters_pass_however_json_writes_them(shop: Shop):
    async with shop.connect(shop.alice) as alice:
        alice.says_text('{"type":"message","order":"SO-1","text":"' + "\\ud83e\\uded6" * 2_000 + '"}')
        await alice.gets("message")
    assert await shop.kept() == [("customer", "🫖" * 2_000)]


#: What each frame says that a client may send about an order. A frame that stands nowhere here fails the test below.
SAID: dict[str, dict[str, Any]] = {
    "message": {"text": "Let me in", "client_id": "b-1"},
    "typing": {},
}


async def test_a_stranger_says_nothing_by_any_frame_and_is_told_nothing(shop: Shop):
    assert SAID.keys() == {frame.type for frame in FRAMES}
    await shop.write(shop.alice, SECRET)
    for type_, fields in SAID.items():
        async with all_three(shop) as (alice, bob, staff):
            bob.says(type_, order="SO-1", **fields)
            [refused] = await bob.gets("error")
            # As of an order that there is not.
            bob.says(type_, order="SO-404", **fields)
            assert (await bob.gets("error", 2))[1] == refused
            assert refused["code"] == "not_found"
            # What bob says of his own order reaches the staff, and so whatever he said before would have.
            bob.says(type_, order="SO-BOB", **fields)
            await staff.gets(type_)
            alice.says(type_, order="SO-1", **fields)
            await tells(staff, type_, order="SO-1")
            assert all(frame.get("order") != "SO-1" for frame in bob.frames)
            assert SECRET not in str(bob.frames)
            assert not alice.of_type("notification")
    bobs = await shop.database(lambda: Message.objects.filter(author=shop.bob, order=shop.order).count())
    assert bobs == 0


async def test_a_stranger_who_tries_on_is_closed(shop: Shop):
    async with shop.connect(shop.bob) as bob:
        for number in range(10):
            bob.says("message", order=f"SO-{number}", text="Let me in")
        assert await bob.closed() == 4501


async def test_staff_who_lose_the_permission_write_no_more_over_the_socket_that_is_open(shop: Shop):
    async with shop.connect(shop.staff, topic=BOARD) as staff:
        staff.says("message", order="SO-1", text="Hello", client_id="1")
        await staff.gets("message")
        await shop.database(
            lambda: shop.staff.user_permissions.remove(Permission.objects.get(codename="reply_to_order"))
        )
        staff.says("message", order="SO-1", text="Hello again", client_id="2")
        [refused] = await staff.gets("error")
        assert (refused["code"], refused["client_id"]) == ("not_found", "2")
    assert await shop.kept() == [("staff", "Hello")]


async def test_what_no_hint_announced_reaches_the_board_all_the_same(shop: Shop, settings: Any):
    settings.NOTIFICATION_TAIL_SECONDS = 0.05
    async with shop.connect(shop.staff, topic=BOARD) as staff:
        nowhere = in_memory()
        ear = await nowhere.new_channel()
        await nowhere.group_add(BOARD, ear)
        with published_to(nowhere):
            message = await shop.write(shop.alice, "Where is it?")
            await nowhere.receive(ear)  # the hint has been sent, to nobody
        await tells(staff, "message", order="SO-1", id=message.pk)
