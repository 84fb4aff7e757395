"""The same key, the same answer; one change, one notification, whatever the network did."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import AbstractUser
from django.db import connection
from django.utils import timezone

from api import idempotency
from api.models import IdempotencyKey
from api.tasks import delete_expired_idempotency_keys
from notifications.models import Notification
from orders import services
from orders.models import Order, StatusChange
from tests.api.client import Answer, Api
from tests.polling import poll

NEW = {"number": "SO-9", "customer": "alice"}


def same(first: Answer, second: Answer) -> bool:
    kept = ("Content-Type", "ETag", "Location")
    return (first.status, first.json, [first.headers.get(name) for name in kept]) == (
        second.status,
        second.json,
        [second.headers.get(name) for name in kept],
    )


def test_an_order_that_is_sent_twice_is_created_once(as_staff: Api):
    first = as_staff.post("orders", NEW, Idempotency_Key="k1")
    second = as_staff.post("orders", NEW, Idempotency_Key="k1")
    assert first.status == 201
    assert same(first, second)
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert Order.objects.count() == Notification.objects.count() == 1


def test_an_update_that_is_sent_twice_is_made_once(as_staff: Api, order: Order):
    first = as_staff.patch("orders/SO-1", {"status": "shipped"}, Idempotency_Key="k1", If_Match='"1"')
    # What happens in between is not what the caller was told.
    services.change_status(order=order, to="delivered")
    second = as_staff.patch("orders/SO-1", {"status": "shipped"}, Idempotency_Key="k1", If_Match='"1"')
    assert same(first, second)
    assert second.json["status"] == "shipped"
    assert [change.to_status for change in StatusChange.objects.all()] == ["pending", "shipped", "delivered"]


def test_the_spelling_of_a_body_does_not_make_it_another(as_staff: Api):
    first = as_staff.post("orders", b'{"number": "SO-9", "customer": "alice"}', Idempotency_Key='"k1"')
    second = as_staff.post("orders", b'{"customer":"alice","number":"SO-9"}', Idempotency_Key="k1")
    assert same(first, second)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "orders", {**NEW, "carrier": "DHL"}),
        ("POST", "orders?x=1", NEW),
        ("PATCH", "orders/SO-9", {"carrier": "DHL"}),
    ],
)
def test_a_key_that_belongs_to_another_request_is_422(as_staff: Api, method: str, path: str, body: dict[str, Any]):
    as_staff.post("orders", NEW, Idempotency_Key="k1")
    answer = as_staff.call(method, path, body, Idempotency_Key="k1")
    assert (answer.status, answer.code) == (422, "idempotency_key_reused")


def test_keys_of_two_callers_are_two_keys(as_staff: Api, as_bob: Api, bob: AbstractUser, staff: AbstractUser):
    bob.user_permissions.set(staff.user_permissions.all())
    assert as_staff.post("orders", NEW, Idempotency_Key="k1").status == 201
    assert as_bob.post("orders", {**NEW, "number": "SO-8"}, Idempotency_Key="k1").status == 201


def test_what_was_refused_is_tried_afresh(as_staff: Api, order: Order):
    illegal = as_staff.patch("orders/SO-1", {"status": "returned"}, Idempotency_Key="k1")
    assert (illegal.status, illegal.code) == (400, "note_required")
    services.change_status(order=order, to="shipped")
    assert as_staff.patch("orders/SO-1", {"status": "returned"}, Idempotency_Key="k1").status == 200


def test_a_key_is_forgotten_after_a_day(as_staff: Api):
    as_staff.post("orders", NEW, Idempotency_Key="k1")
    IdempotencyKey.objects.update(created_at=timezone.now() - idempotency.LIFETIME - timedelta(seconds=1))
    answer = as_staff.post("orders", {**NEW, "number": "SO-8"}, Idempotency_Key="k1")
    assert answer.status == 201
    assert same(as_staff.post("orders", {**NEW, "number": "SO-8"}, Idempotency_Key="k1"), answer)


@pytest.mark.parametrize("key", ["", '""', "k" * 256, "a\tb", "ä"])
def test_a_key_that_is_none_is_refused(as_staff: Api, key: str):
    assert as_staff.post("orders", NEW, Idempotency_Key=key).errors == {("/Idempotency-Key", "invalid")}
    assert not Order.objects.exists()


postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has one writer at a time: whoever comes second waits"
)


class HeldUp:
    """A POST of `NEW` with key k1 that hangs in the middle of its transaction, since somebody else is about to create
    the same order and has not said yet whether they will.
    """

    def __init__(self, api: Api, user_id: int) -> None:
        self.holder = psycopg.connect(**connection.get_connection_params())
        self.holder.execute(
            "INSERT INTO orders_order (number, customer_id, status, version, status_since, placed_at, carrier, "
            "tracking_number, tracking_url, currency, items, metadata, created_at, updated_at) "
            "VALUES ('SO-9', %s, 'pending', 1, now(), now(), '', '', '', '', '[]', '{}', now(), now())",
            [user_id],
        )
        self.api = api
        self.threads = ThreadPoolExecutor(1)
        self.answer = self.threads.submit(self.send)
        poll(self.backend, saying="the request to wait for the other transaction")

    def send(self) -> Answer:
        try:
            return self.api.post("orders", NEW, Idempotency_Key="k1")
        finally:
            connection.close()

    def backend(self) -> int | None:
        """The server process that waits for the holder's."""
        with connection.cursor() as cursor:
            holder = self.holder.info.backend_pid
            cursor.execute("SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))", [holder])
            row = cursor.fetchone()
        return row[0] if row else None

    def crash(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [self.backend()])

    def release(self) -> None:
        self.holder.rollback()

    def close(self) -> None:
        self.holder.close()
        self.threads.shutdown()


@pytest.fixture
def held_up(transactional_db: None, as_staff: Api, alice: AbstractUser) -> Iterator[HeldUp]:
    request = HeldUp(as_staff, alice.pk)
    yield request
    request.close()


@postgresql
def test_a_key_whose_first_request_still_runs_is_409_at_once(held_up: HeldUp, as_staff: Api):
    second = as_staff.post("orders", NEW, Idempotency_Key="k1")
    assert (second.status, second.code) == (409, "idempotency_key_in_use")
    assert int(second.headers["Retry-After"]) >= 1
    held_up.release()
    assert same(held_up.answer.result(), as_staff.post("orders", NEW, Idempotency_Key="k1"))
    assert Order.objects.count() == 1


@postgresql
def test_a_crash_leaves_a_key_neither_stuck_nor_spent(held_up: HeldUp, as_staff: Api):
    held_up.crash()
    assert held_up.answer.result().code == "database_unavailable"
    held_up.release()
    assert not Order.objects.exists()
    assert not Notification.objects.exists()
    assert as_staff.post("orders", NEW, Idempotency_Key="k1").status == 201


def test_what_has_expired_is_deleted_and_nothing_else(as_staff: Api):
    as_staff.post("orders", NEW, Idempotency_Key="old")
    IdempotencyKey.objects.update(created_at=timezone.now() - idempotency.LIFETIME)
    as_staff.post("orders", {**NEW, "number": "SO-8"}, Idempotency_Key="new")
    assert delete_expired_idempotency_keys() == 1
    assert [known.key for known in IdempotencyKey.objects.all()] == ["new"]
