"""The conversation about an order: who takes part, what is kept once, who waits, and what is erased."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError, transaction
from django.utils import timezone

from orders import conversation
from orders.conversation import BadMessage, ClientIdReused, TooManyMessages, write
from orders.messages import MAX_TEXT, Conversation, Message, Side
from orders.models import Order
from tests.orders.conftest import make_order


def texts(order: Order) -> list[str]:
    """What was said about the order, oldest first."""
    return [message.text for message in reversed(conversation.messages_of(order))]


def test_a_customer_and_the_staff_talk_in_the_order_in_which_they_wrote(order: Order, alice: User, staff: User):
    for author, text in ((alice, "Where is it?"), (staff, "In the van."), (alice, "Thanks!")):
        write(order=order, author=author, text=text)
    assert texts(order) == ["Where is it?", "In the van.", "Thanks!"]
    assert [message.side for message in conversation.messages_of(order)] == [Side.CUSTOMER, Side.STAFF, Side.CUSTOMER]


@pytest.mark.parametrize("permissions", [[], ["view_order"], ["reply_to_order"], ["change_order", "override_status"]])
def test_who_lacks_one_of_the_two_permissions_takes_no_part(order: Order, bob: User, permissions: list[str]):
    bob.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert conversation.side_of(bob, order) is None
    with pytest.raises(Order.DoesNotExist):
        write(order=order, author=bob, text="Let me in")
    assert texts(order) == []


def test_a_customer_who_is_deactivated_writes_no_more(order: Order, alice: User):
    alice.is_active = False
    with pytest.raises(Order.DoesNotExist):
        write(order=order, author=alice, text="Still here")


def test_staff_who_have_ordered_are_the_customers_of_their_orders(staff: User):
    mine = make_order("SO-2", "staff")
    assert write(order=mine, author=staff, text="Where is mine?").message.side == Side.CUSTOMER


def test_a_message_that_is_sent_again_with_its_id_is_kept_once(order: Order, alice: User, staff: User):
    first = write(order=order, author=alice, text="Where is it?", client_id="a-1")
    again = write(order=order, author=alice, text=" Where is it? ", client_id="a-1")
    assert (first.again, again.again) == (False, True)
    assert again.message.pk == first.message.pk
    # The id is the author's own, and the conversation's.
    write(order=order, author=staff, text="In the van.", client_id="a-1")
    write(order=make_order("SO-2"), author=alice, text="And this one?", client_id="a-1")
    assert texts(order) == ["Where is it?", "In the van."]


def test_an_id_does_not_stand_for_another_text(order: Order, alice: User):
    write(order=order, author=alice, text="Where is it?", client_id="a-1")
    with pytest.raises(ClientIdReused):
        write(order=order, author=alice, text="Never mind", client_id="a-1")


def test_the_database_keeps_an_id_once_too(order: Order, alice: User):
    write(order=order, author=alice, text="Where is it?", client_id="a-1")
    twin = Message(order=order, author=alice, side=Side.CUSTOMER, text="Twin", client_id="a-1")
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "blank"),
        (" \n\t ", "blank"),
        ("x" * (MAX_TEXT + 1), "max_length"),
        (" " * (MAX_TEXT + 1), "max_length"),
        ("a\x00b", "control_character"),
        ("\x1b[31mred", "control_character"),
        ("half \ud800 a pair", "control_character"),
    ],
    ids=["empty", "blanks", "long", "long blanks", "NUL", "escape", "surrogate"],
)
def test_what_is_no_message_is_refused(order: Order, alice: User, text: str, code: str):
    with pytest.raises(BadMessage) as refused:
        write(order=order, author=alice, text=text)
    assert refused.value.code == code
    assert texts(order) == []


@pytest.mark.parametrize("client_id", ["x" * 65, "ö", "a\n", "\x00"])
def test_an_id_that_cannot_be_kept_is_refused(order: Order, alice: User, client_id: str):
    with pytest.raises(BadMessage) as refused:
        write(order=order, author=alice, text="Hello", client_id=client_id)
    assert refused.value.field == "client_id"


def test_a_message_holds_two_thousand_characters_of_any_script(order: Order, alice: User):
    for text in ("x" * MAX_TEXT, "🫖" * MAX_TEXT, "a\n\tb"):
        write(order=order, author=alice, text=text)
    assert len(texts(order)[1]) == MAX_TEXT


def test_an_author_who_writes_too_much_waits_and_a_retry_of_what_is_kept_does_not(
    order: Order, alice: User, staff: User, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(conversation.RATE, Side.CUSTOMER, 3)
    other = make_order("SO-2")
    for number, about in enumerate((order, other, order)):
        write(order=about, author=alice, text="Hello?", client_id=f"a-{number}")
    with pytest.raises(TooManyMessages) as refused:
        write(order=other, author=alice, text="Hello??", client_id="a-4")
    assert 0 < refused.value.wait <= conversation.RATE_SECONDS
    assert write(order=order, author=alice, text="Hello?", client_id="a-2").again
    write(order=order, author=staff, text="Yes?")  # nobody else waits
    Message.objects.filter(author=alice).update(written_at=timezone.now() - timedelta(seconds=61))
    assert not write(order=other, author=alice, text="Hello??", client_id="a-4").again


def waiting() -> set[str]:
    return set(conversation.waiting(Order.objects.all()).values_list("number", flat=True))


def test_an_order_waits_from_the_first_unanswered_message_until_staff_answer(order: Order, alice: User, staff: User):
    make_order("SO-2")
    assert waiting() == set()
    first = write(order=order, author=alice, text="Where is it?").message
    write(order=order, author=alice, text="Hello?")
    assert waiting() == {"SO-1"}
    assert Conversation.objects.get().waiting_since == first.written_at
    write(order=order, author=staff, text="In the van.")
    assert waiting() == set()
    answered = conversation.waiting(Order.objects.all(), answered=True)
    assert set(answered.values_list("number", flat=True)) == {"SO-1", "SO-2"}


@pytest.mark.parametrize(
    "wrong",
    [{"last_side": "nobody"}, {"last_side": Side.STAFF}, {"waiting_since": None}],
    ids=["side", "answered and waiting", "unanswered and not waiting"],
)
def test_the_database_keeps_the_rules_of_a_conversation(order: Order, alice: User, wrong: dict[str, Any]):
    write(order=order, author=alice, text="Where is it?")
    with pytest.raises(IntegrityError), transaction.atomic():
        Conversation.objects.update(**wrong)


@pytest.mark.parametrize("wrong", [{"side": "nobody"}, {"text": ""}], ids=["side", "text"])
def test_the_database_keeps_the_rules_of_a_message(order: Order, alice: User, wrong: dict[str, str]):
    write(order=order, author=alice, text="Where is it?")
    with pytest.raises(IntegrityError), transaction.atomic():
        Message.objects.update(**wrong)


def test_a_message_goes_with_its_order(order: Order, alice: User):
    write(order=order, author=alice, text="Where is it?")
    order.delete()
    assert not Message.objects.exists()
    assert not Conversation.objects.exists()


def test_forgetting_a_customer_erases_what_was_said_about_their_orders(
    order: Order, alice: User, staff: User, bob: User
):
    bobs = make_order("SO-2", "bob")
    write(order=order, author=alice, text="I am at 5 Elm Street")
    write(order=order, author=staff, text="Dear Alice, noted")
    write(order=bobs, author=bob, text="Where is mine?")
    assert conversation.forget(alice) == 2
    assert list(Message.objects.values_list("text", flat=True)) == ["Where is mine?"]
    assert waiting() == {"SO-2"}
    write(order=bobs, author=staff, text="In the van.", client_id="s-1")
    conversation.forget(staff)
    assert texts(bobs) == ["Where is mine?", "In the van."]
    assert Message.objects.filter(author=None).count() == 1
