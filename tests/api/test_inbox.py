"""The caller's own stream, what they have read of it, and tickets: theirs, and a customer's for who may."""

from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser, Permission
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken

from notifications.access import tickets
from notifications.access.models import Revocation
from notifications.log import retention, stream
from orders import services
from orders.models import Order
from tests.api.client import Api


def test_the_stream_is_read_in_pages_from_where_the_caller_is(as_alice: Api, order: Order):
    for status in ("processing", "shipped", "delivered"):
        services.change_status(order=order, to=status)
    page = as_alice.get("notifications?after=1&limit=2").json
    assert [frame["seq"] for frame in page["results"]] == [2, 3]
    assert (page["head"], page["unread"]) == (4, 4)


def test_a_page_of_a_trimmed_stream_says_what_is_lost_and_gives_the_rest(as_alice: Api, order: Order):
    services.change_status(order=order, to="processing")
    retention.trim(timezone.now())
    services.change_status(order=order, to="shipped")
    page = as_alice.get("notifications?after=0&limit=2").json
    assert [frame["seq"] for frame in page["results"]] == [3]
    assert page["reset"] == {"stream": page["stream"], "head": 3, "reason": "trimmed"}
    assert page["unread"] == as_alice.get("notifications/unread-count").json["unread"] == 1
    assert "reset" not in as_alice.get("notifications?after=2").json


def test_a_stranger_reads_a_stream_of_their_own(as_bob: Api, order: Order):
    assert as_bob.get("notifications").json["results"] == []


def test_what_is_read_is_read_everywhere(as_alice: Api, order: Order):
    services.change_status(order=order, to="shipped")
    assert as_alice.get("notifications/unread-count").json == {"unread": 2}
    assert as_alice.post("notifications/read", {"up_to": 1}).json == {"up_to": 1, "unread": 1}
    assert as_alice.post("notifications/read", {"up_to": 0}).json == {"up_to": 1, "unread": 1}
    assert as_alice.post("notifications/read", {"up_to": 999}).json == {"up_to": 2, "unread": 0}
    assert as_alice.get("notifications/unread-count").json == {"unread": 0}


@pytest.mark.parametrize("up_to", [-1, 2**53, "1", 1.5, None, True])
def test_what_is_no_number_of_a_stream_cannot_be_read(as_alice: Api, up_to: Any):
    answer = as_alice.post("notifications/read", {"up_to": up_to})
    assert [pointer for pointer, _ in answer.errors] == ["/up_to"]


def test_a_ticket_is_the_callers_and_works_once(as_alice: Api, alice: AbstractUser):
    answer = as_alice.post("tickets", {})
    assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
    credential = tickets.redeem(answer.json["ticket"])
    assert credential is not None
    assert credential.user_id == alice.pk
    assert credential.key.startswith("token:")
    assert tickets.redeem(answer.json["ticket"]) is None


def test_a_ticket_of_a_session_ends_with_the_session(alice: Any):
    client = Client()
    client.force_login(alice)
    ticket = client.post("/api/v1/tickets", {}, content_type="application/json").json()["ticket"]
    credential = tickets.redeem(ticket)
    assert credential is not None
    assert credential.key.startswith("session:")


def test_a_ticket_for_a_customer_ends_with_the_token_that_asked_for_it(as_staff: Api, staff: AbstractUser, bob: Any):
    asked = [as_staff.post("tickets", {"customer": "bob"}).json["ticket"] for _ in range(2)]
    opened = tickets.redeem(asked[0])
    AuthToken.objects.filter(user=staff).delete()
    assert tickets.redeem(asked[1]) is None
    assert opened is not None
    assert Revocation.objects.filter(user_id=bob.pk, key=opened.key).exists()


def test_a_ticket_for_a_customer_needs_the_permission(as_alice: Api, as_staff: Api, bob: AbstractUser):
    credential = tickets.redeem(as_staff.post("tickets", {"customer": "bob"}).json["ticket"])
    assert credential is not None
    assert credential.user_id == bob.pk
    answer = as_alice.post("tickets", {"customer": "bob"})
    assert (answer.status, answer.code) == (403, "permission_denied")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("\uff41lice", "unknown_customer"),
        ("alice ", "invalid"),
        (" alice", "invalid"),
    ],  # the first a is a full-width one
)
def test_a_ticket_finds_its_customer_in_the_stored_spelling_only(
    name: str, code: str, as_staff: Api, alice: AbstractUser, django_user_model: Any
):
    before = django_user_model.objects.count()
    assert as_staff.post("tickets", {"customer": name}).errors == {("/customer", code)}
    assert django_user_model.objects.count() == before


@pytest.mark.parametrize("name", ["carol", "new@shop.example", "\u00c5sa", "gid://shopify/Customer/1"])
def test_a_ticket_makes_a_customer_who_has_not_ordered_yet(
    name: str, as_staff: Api, alice: AbstractUser, django_user_model: Any
):
    credential = tickets.redeem(as_staff.post("tickets", {"customer": name}).json["ticket"])
    made = django_user_model.objects.get(username=name)
    assert credential is not None
    assert credential.user_id == made.pk != alice.pk
    assert not made.has_usable_password()
    assert services.create_order(number="SO-1", customer=name).customer == made


def test_a_ticket_makes_nobody_who_is_called_almost_as_a_customer(
    as_staff: Api, alice: AbstractUser, django_user_model: Any
):
    before = django_user_model.objects.count()
    answer = as_staff.post("tickets", {"customer": "Alice"})
    assert (answer.status, answer.code, answer.json["customer"]) == (409, "customer_exists", "alice")
    # Who is no customer is not told of.
    assert as_staff.post("tickets", {"customer": "Staff"}).errors == {("/customer", "unknown_customer")}
    assert django_user_model.objects.count() == before


def test_a_name_that_no_order_may_have_makes_no_customer(as_staff: Api, django_user_model: Any):
    before = django_user_model.objects.count()
    for name in ("", "a\tb", "a\u202eb", "x" * 151):
        assert as_staff.post("tickets", {"customer": name}).status == 400
    assert django_user_model.objects.count() == before


def test_who_may_not_act_for_customers_makes_none(as_alice: Api, django_user_model: Any):
    assert as_alice.post("tickets", {"customer": "new"}).status == 403
    assert not django_user_model.objects.filter(username="new").exists()


def test_a_ticket_ends_with_the_session_that_bought_it(alice: Any):
    client = Client()
    client.force_login(alice)
    bought = [client.post("/api/v1/tickets", {}, content_type="application/json").json()["ticket"] for _ in range(2)]
    now = timezone.now()
    redeemed = tickets.redeem(bought[0])
    assert redeemed is not None
    assert redeemed.checked_at < now  # so that a log-out from now on ends what it has opened
    client.logout()
    assert tickets.redeem(bought[1]) is None


def test_a_customer_who_is_called_as_the_shops_account_does_not_become_it(as_staff: Api, alice: AbstractUser):
    assert as_staff.post("tickets", {"customer": "staff"}).errors == {("/customer", "unknown_customer")}
    alice.user_permissions.add(Permission.objects.get(codename="view_order"))
    assert as_staff.post("tickets", {"customer": "alice"}).errors == {("/customer", "unknown_customer")}


def test_a_customer_may_name_themselves(as_alice: Api, alice: AbstractUser):
    credential = tickets.redeem(as_alice.post("tickets", {"customer": "alice"}).json["ticket"])
    assert credential is not None
    assert credential.user_id == alice.pk


@pytest.mark.parametrize("name", ["boss", "gone"])
def test_a_ticket_is_for_customers_only(as_staff: Api, django_user_model: Any, name: str):
    django_user_model.objects.create(username="boss", is_superuser=True)
    django_user_model.objects.create(username="gone", is_active=False)
    assert as_staff.post("tickets", {"customer": name}).errors == {("/customer", "unknown_customer")}


def test_the_permission_is_all_it_takes(as_bob: Api, bob: AbstractUser, alice: AbstractUser):
    bob.user_permissions.add(Permission.objects.get(codename="issue_ticket"))
    assert as_bob.post("tickets", {"customer": "alice"}).status == 201
    assert stream.position(alice.pk).head == 0
