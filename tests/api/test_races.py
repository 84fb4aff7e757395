"""Two systems at one order, over HTTP: none undoes the other, none waits for ever, and versions rise one by one."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import connection

from notifications.models import Notification
from orders.models import Order, StatusChange
from tests.api.client import Answer, Api

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
]

#: Callers at once.
CALLERS = 4


@pytest.fixture
def at_once(transactional_db: None) -> Iterator[Callable[[Callable[[int], Any]], list[Any]]]:
    """Calls a function with 0, 1, 2, 3 in as many threads, that all begin together."""
    with ThreadPoolExecutor(CALLERS) as pool:
        start = Barrier(CALLERS)

        def run(call: Callable[[int], Any]) -> list[Any]:
            def one(n: int) -> Any:
                start.wait(20)
                try:
                    return call(n)
                finally:
                    connection.close()

            return list(pool.map(one, range(CALLERS)))

        yield run


def test_updates_of_different_fields_are_all_kept(at_once: Any, as_staff: Api, order: Order):
    fields = ["carrier", "tracking_number", "currency", "tracking_url"]
    values = ["C{}", "T{}", "{}", "https://carrier.example/{}"]
    letters = "ABCDEFGH"

    def update(n: int) -> list[Answer]:
        return [
            as_staff.patch("orders/SO-1", {fields[n]: values[n].format("EU" + letter if n == 2 else letter)})
            for letter in letters
        ]

    answers = [answer for caller in at_once(update) for answer in caller]
    assert {answer.status for answer in answers} == {200}
    assert sorted(answer.json["version"] for answer in answers) == list(range(2, len(answers) + 2))
    last = as_staff.get("orders/SO-1").json
    assert [last[field] for field in fields] == ["CH", "TH", "EUH", "https://carrier.example/H"]
    told = [json.loads(frame)["order"]["version"] for frame in Notification.objects.values_list("frame", flat=True)]
    assert told == list(range(1, len(answers) + 2))


def test_of_two_who_saw_the_same_version_one_wins(at_once: Any, as_staff: Api, order: Order):
    answers = at_once(lambda n: as_staff.patch("orders/SO-1", {"carrier": f"C{n}"}, If_Match='"1"'))
    assert sorted(answer.status for answer in answers) == [200, 412, 412, 412]


def test_one_step_that_four_systems_report_is_taken_once(at_once: Any, as_staff: Api, order: Order):
    answers = at_once(lambda n: as_staff.patch("orders/SO-1", {"status": "shipped"}))
    assert sorted(answer.json["applied"] for answer in answers) == [False, False, False, True]
    assert StatusChange.objects.filter(applied=True, to_status="shipped").count() == 1
    assert Notification.objects.filter(kind="order.status_changed").count() == 1


def test_of_four_who_create_one_order_one_does(at_once: Any, as_staff: Api):
    answers = at_once(lambda n: as_staff.post("orders", {"number": "SO-9", "customer": "carol"}))
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]
    assert Notification.objects.count() == 1


def test_of_four_with_one_key_one_acts_and_all_others_hear_the_same_or_wait(
    at_once: Any, as_staff: Api, staff: AbstractUser, order: Order
):
    body = {"status": "shipped"}
    answers = at_once(lambda n: as_staff.patch("orders/SO-1", body, Idempotency_Key="k1"))
    assert {answer.status for answer in answers} <= {200, 409}
    done = [answer.json for answer in answers if answer.status == 200]
    assert all(answer == done[0] for answer in done)
    assert {answer.code for answer in answers if answer.status == 409} <= {"idempotency_key_in_use"}
    assert as_staff.patch("orders/SO-1", body, Idempotency_Key="k1").json == done[0]
    assert StatusChange.objects.filter(to_status="shipped").count() == 1


def test_a_message_that_is_sent_several_times_at_once_is_kept_once(at_once: Any, as_staff: Api, order: Order):
    said = {"text": "In the van.", "client_id": "s-1"}
    answers: list[Answer] = at_once(lambda _: as_staff.post("orders/SO-1/messages", said))
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 201]
    assert len({answer.json["id"] for answer in answers}) == 1
    assert Notification.objects.filter(kind="order.message").count() == 1


def test_messages_that_are_written_at_once_are_told_in_the_order_in_which_they_stand(
    at_once: Any, as_alice: Api, as_staff: Api, order: Order
):
    at_once(lambda n: [as_staff.post("orders/SO-1/messages", {"text": f"{n}.{part}"}) for part in range(5)])
    page = as_alice.get("orders/SO-1/messages").json["results"]
    told = as_alice.get("notifications?after=1").json["results"]
    assert len(told) == 5 * CALLERS
    assert [frame["message"]["id"] for frame in told] == [message["id"] for message in reversed(page)]
