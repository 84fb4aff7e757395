"""The conversation on the pages, as the server renders it: it can be read and written without JavaScript."""

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from orders import conversation, services
from orders.messages import Message, Side
from orders.models import Order
from tests.orders.pages.test_views import text


@pytest.fixture
def order(alice: User) -> Order:
    return services.create_order(number="SO-1", customer="alice")


def say(client: Client, words: str, **fields: str) -> int:
    return client.post("/orders/SO-1", {"text": words, **fields}).status_code


def conversation_of(client: Client) -> str:
    return text(client.get("/orders/SO-1").content).partition("Questions about this order")[2]


def test_a_customer_writes_and_reads_the_answer(client: Client, alice: User, staff: User, order: Order):
    client.force_login(alice)
    answer = client.post("/orders/SO-1", {"text": "Where is it?\r\nI wait."})
    assert (answer.status_code, answer["Location"]) == (302, "/orders/SO-1#conversation")
    conversation.write(order=order, author=staff, text="In the van.")
    assert Message.objects.first().text == "Where is it?\nI wait."  # type: ignore[union-attr]
    said = conversation_of(client)
    assert said.index("You") < said.index("Where is it?") < said.index("The shop") < said.index("In the van.")
    assert "staff" not in said


def test_a_form_that_is_sent_twice_is_kept_once(client: Client, alice: User, order: Order):
    client.force_login(alice)
    page = client.get("/orders/SO-1").content.decode()
    [client_id] = re.findall(r'name="client_id" value="([^"]+)"', page)
    for _ in range(2):
        assert say(client, "Where is it?", client_id=client_id) == 302
    assert Message.objects.count() == 1
    assert client_id not in client.get("/orders/SO-1").content.decode()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [("", "needs a text"), ("x" * 2_001, "at most 2,000 characters"), ("a\x07b", "Control characters")],
    ids=["empty", "long", "control"],
)
def test_what_is_no_message_is_refused_in_words(client: Client, alice: User, order: Order, words: str, complaint: str):
    client.force_login(alice)
    answer = client.post("/orders/SO-1", {"text": words})
    assert answer.status_code == 400
    assert complaint in text(answer.content)
    assert not Message.objects.exists()


def test_who_writes_too_much_is_told_and_keeps_what_was_written(
    client: Client, alice: User, order: Order, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(conversation.RATE, Side.CUSTOMER, 1)
    client.force_login(alice)
    say(client, "Hello?")
    answer = client.post("/orders/SO-1", {"text": "Hello again?"})
    assert answer.status_code == 429
    assert "Too many messages" in text(answer.content)
    assert "Hello again?" in answer.content.decode()


def test_somebody_else_neither_reads_nor_writes(client: Client, alice: User, bob: User, order: Order):
    conversation.write(order=order, author=alice, text="I am at 5 Elm Street")
    client.force_login(bob)
    assert say(client, "Let me in") == 404
    bob.user_permissions.set(Permission.objects.filter(codename="view_order"))
    assert say(client, "Let me in") == 404
    page = client.get("/orders/SO-1")
    assert page.status_code == 200
    assert b"Elm Street" not in page.content
    assert b"data-conversation" not in page.content


def test_a_form_without_its_token_is_refused(alice: User, order: Order):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert say(client, "Where is it?") == 403


def test_what_is_said_is_text_and_never_markup(client: Client, alice: User, order: Order):
    conversation.write(order=order, author=alice, text='<img src=x onerror="alert(1)">')
    client.force_login(alice)
    page = client.get("/orders/SO-1").content
    assert b"<img src=x" not in page
    assert b"&lt;img src=x onerror=&quot;alert(1)&quot;&gt;" in page


def test_staff_read_who_of_them_wrote(client: Client, alice: User, staff: User, order: Order):
    conversation.write(order=order, author=alice, text="Where is it?")
    conversation.write(order=order, author=staff, text="In the van.")
    client.force_login(staff)
    said = text(client.get("/orders/SO-1").content).partition("Messages with alice")[2]
    assert said.index("alice") < said.index("Where is it?") < said.index("staff") < said.index("In the van.")


def test_a_long_conversation_begins_with_its_newest_part(client: Client, alice: User, staff: User, order: Order):
    for number in range(51):
        conversation.write(order=order, author=staff, text=f"Part {number}.")
    client.force_login(alice)
    said = conversation_of(client)
    assert "Part 0." not in said
    assert said.index("Part 1.") < said.index("Part 50.")
    assert b'data-earlier><button type="button">' in client.get("/orders/SO-1").content


def test_the_board_tells_which_orders_wait_and_shows_those_alone(
    client: Client, alice: User, staff: User, order: Order
):
    services.create_order(number="SO-2", customer="alice")
    conversation.write(order=order, author=alice, text="Where is it?")
    client.force_login(staff)
    page = client.get("/board").content.decode()
    assert page.count('data-waits="yes"') == 1
    assert "Waiting for an answer: 1" in text(page.encode())
    waiting = client.get("/board?waiting=1").content.decode()
    assert re.findall(r'data-order="(SO-\d)"', waiting) == ["SO-1"]
    conversation.write(order=order, author=staff, text="In the van.")
    assert "SO-1" not in text(client.get("/board?waiting=1").content)


def test_staff_who_may_not_reply_are_shown_no_sign_of_it(client: Client, alice: User, bob: User, order: Order):
    conversation.write(order=order, author=alice, text="Where is it?")
    bob.user_permissions.set(Permission.objects.filter(codename="view_order"))
    client.force_login(bob)
    assert "answer" not in text(client.get("/board?waiting=1").content)


def test_the_updates_lead_to_the_answer(client: Client, alice: User, staff: User, order: Order):
    conversation.write(order=order, author=staff, text="In the van.")
    client.force_login(alice)
    page = client.get("/updates").content.decode()
    assert "New message" in page
    assert "In the van." in page
    assert 'href="/orders/SO-1#conversation"' in page
