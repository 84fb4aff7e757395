"""`/orders/{number}/messages`: who reads and writes, what is kept once, and pages that stay where they are."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from orders import conversation, services
from orders.messages import Message, Side
from orders.models import Order
from tests.api.client import Api

URL = "orders/SO-1/messages"


def say(api: Api, text: str, **fields: Any) -> Any:
    answer = api.post(URL, {"text": text, **fields})
    assert answer.status in (200, 201), answer
    return answer.json


def texts(api: Api) -> list[str]:
    return [message["text"] for message in api.get(URL).json["results"]]


def test_a_customer_and_the_staff_talk(as_alice: Api, as_staff: Api, order: Order):
    said = say(as_alice, "Where is it?", client_id="a-1")
    assert said == {
        "id": said["id"],
        "order": "SO-1",
        "side": "customer",
        "author": "alice",
        "text": "Where is it?",
        "written_at": said["written_at"],
        "client_id": "a-1",
    }
    say(as_staff, "In the van.\nAt five.", client_id="s-1")
    newest, oldest = as_staff.get(URL).json["results"]
    assert (newest["author"], newest["text"], newest["client_id"]) == ("staff", "In the van.\nAt five.", "s-1")
    assert (oldest["author"], oldest["client_id"]) == ("alice", None)


def test_a_customer_is_not_told_who_of_the_staff_answered(as_alice: Api, as_staff: Api, order: Order):
    say(as_staff, "In the van.")
    assert "author" in as_alice.get(URL).json["results"][0]
    assert as_alice.get(URL).json["results"][0]["author"] is None


def test_somebody_else_finds_no_conversation(as_alice: Api, as_bob: Api, order: Order):
    say(as_alice, "I am at 5 Elm Street")
    for answer in (as_bob.get(URL), as_bob.post(URL, {"text": "Hello"}), as_bob.get("orders/SO-404/messages")):
        assert (answer.status, answer.code) == (404, "not_found")
    assert texts(as_alice) == ["I am at 5 Elm Street"]


def test_staff_who_see_orders_and_may_not_reply_are_refused(as_alice: Api, bob: User, order: Order):
    say(as_alice, "Where is it?")
    bob.user_permissions.set(Permission.objects.filter(codename="view_order"))
    api = Api(User.objects.get(pk=bob.pk))
    assert [api.get(URL).status, api.post(URL, {"text": "Hello"}).status] == [403, 403]


def test_a_message_that_is_sent_again_is_kept_once(as_alice: Api, order: Order):
    first = as_alice.post(URL, {"text": "Where is it?", "client_id": "a-1"})
    again = as_alice.post(URL, {"text": "Where is it?", "client_id": "a-1"})
    assert (first.status, again.status) == (201, 200)
    assert again.json == first.json
    assert texts(as_alice) == ["Where is it?"]
    other = as_alice.post(URL, {"text": "Something else", "client_id": "a-1"})
    assert (other.status, other.code) == (422, "client_id_reused")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, ("/text", "required")),
        ({"text": ""}, ("/text", "blank")),
        ({"text": " \n "}, ("/text", "blank")),
        ({"text": "x" * 2_001}, ("/text", "max_length")),
        ({"text": 7}, ("/text", "invalid")),
        ({"text": None}, ("/text", "null")),
        ({"text": "a\x07b"}, ("/text", "control_character")),
        ({"text": "Hello", "client_id": "ö"}, ("/client_id", "invalid")),
        ({"text": "Hello", "client_id": "x" * 65}, ("/client_id", "max_length")),
        ({"text": "Hello", "side": "staff"}, ("/side", "unknown_field")),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_message_is_refused(as_alice: Api, order: Order, body: Any, error: tuple[str, str]):
    answer = as_alice.post(URL, body)
    assert answer.status == 400
    assert error in answer.errors
    assert not Message.objects.exists()


def test_two_thousand_characters_of_any_script_are_kept(as_alice: Api, order: Order):
    say(as_alice, "🫖" * 2_000)
    assert texts(as_alice) == ["🫖" * 2_000]


def test_an_author_who_writes_too_much_is_told_when_there_is_room_again(
    as_alice: Api, as_staff: Api, order: Order, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(conversation.RATE, Side.CUSTOMER, 2)
    say(as_alice, "Hello?")
    say(as_alice, "Hello??")
    answer = as_alice.post(URL, {"text": "Hello???"})
    assert (answer.status, answer.code) == (429, "throttled")
    assert 1 <= int(answer.headers["Retry-After"]) <= conversation.RATE_SECONDS
    say(as_staff, "Yes?")


def walk(api: Api, start: str, direction: str) -> list[list[str]]:
    """The pages from there in that direction."""
    pages, path = [], start
    while path:
        answer = api.get(path.partition("/api/v1/")[2] or path).json
        pages.append([message["text"] for message in answer["results"]])
        path = answer[direction] or ""
    return pages


def test_pages_lead_to_the_oldest_and_back_and_stay_where_they_are(
    as_alice: Api, as_staff: Api, order: Order, monkeypatch: pytest.MonkeyPatch
):
    for number in range(5):
        say(as_staff, str(number))
    assert walk(as_alice, f"{URL}?limit=2", "next") == [["4", "3"], ["2", "1"], ["0"]]
    second = as_alice.get(f"{URL}?limit=2").json["next"].partition("/api/v1/")[2]
    say(as_staff, "5")
    assert walk(as_alice, second, "next") == [["2", "1"], ["0"]]
    assert walk(as_alice, second, "previous") == [["2", "1"], ["4", "3"], ["5"]]
    last = as_alice.get(f"{URL}?limit=200").json
    assert (last["next"], last["previous"], len(last["results"])) == (None, None, 6)


def test_a_page_that_is_empty_meanwhile_leads_back(as_alice: Api, as_staff: Api, order: Order):
    for number in range(3):
        say(as_staff, str(number))
    older = as_alice.get(f"{URL}?limit=2").json["next"].partition("/api/v1/")[2]
    Message.objects.filter(text="0").delete()
    page = as_alice.get(older).json
    assert (page["results"], page["next"]) == ([], None)
    assert walk(as_alice, page["previous"], "previous") == [["2", "1"]]


@pytest.mark.parametrize("query", ["cursor=x", "cursor=b", "cursor=b1x", "cursor=" + "9" * 30, "limit=0", "limit=201"])
def test_a_cursor_or_a_limit_that_is_none_is_refused(as_alice: Api, order: Order, query: str):
    answer = as_alice.get(f"{URL}?{query}")
    assert (answer.status, answer.code) == (400, "invalid")


@pytest.mark.parametrize("query", ["after=1", "cursor="])
def test_a_parameter_that_is_not_known_or_blank_is_refused(as_alice: Api, order: Order, query: str):
    assert as_alice.get(f"{URL}?{query}").status == 400


def waiting(api: Api, value: str) -> list[str]:
    return [order["number"] for order in api.get(f"orders?waiting={value}").json["results"]]


def test_staff_find_the_orders_that_wait_for_an_answer(as_alice: Api, as_staff: Api, order: Order):
    services.create_order(number="SO-2", customer="alice")
    assert waiting(as_staff, "true") == []
    say(as_alice, "Where is it?")
    assert (waiting(as_staff, "true"), waiting(as_staff, "false")) == (["SO-1"], ["SO-2"])
    say(as_staff, "In the van.")
    assert waiting(as_staff, "true") == []
    assert as_staff.get("orders?waiting=yes").status == 400


def test_a_message_is_a_text_whatever_it_looks_like(as_alice: Api, order: Order):
    text = '<script>alert(1)</script> & "quotes" \u202e {{ 7 }}'
    say(as_alice, text)
    assert texts(as_alice) == [text]


def test_a_message_changes_no_version_of_the_order(as_alice: Api, order: Order):
    before = as_alice.get("orders/SO-1")
    say(as_alice, "Where is it?")
    after = as_alice.get("orders/SO-1")
    assert (after.headers["ETag"], after.json) == (before.headers["ETag"], before.json)


def test_who_polls_is_told_of_an_answer_in_its_place(as_alice: Api, as_staff: Api, order: Order):
    said = say(as_staff, "In the van.")
    services.change_status(order=order, to="shipped")
    told = as_alice.get("notifications?after=1").json["results"]
    assert [(frame["seq"], frame["kind"]) for frame in told] == [(2, "order.message"), (3, "order.status_changed")]
    assert (told[0]["note"], told[0]["message"]) == ("In the van.", {"id": said["id"], "side": "staff"})


def test_an_order_of_any_number_has_a_conversation(as_alice: Api, alice: User):
    services.create_order(number="2026/17 #a", customer="alice")
    path = "orders/2026%2F17%20%23a/messages"
    assert as_alice.post(path, {"text": "Where is it?"}).json["order"] == "2026/17 #a"
    assert [message["text"] for message in as_alice.get(path).json["results"]] == ["Where is it?"]


def test_a_body_of_another_kind_is_refused(as_alice: Api, order: Order):
    assert as_alice.call("POST", URL, json.dumps({"text": "x" * 1_200_000}).encode()).status in (400, 413)
