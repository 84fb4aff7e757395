"""What a ticket is exchanged for: a token that reads one customer's stream, and does nothing else."""

from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from knox.models import AuthToken

from notifications.access import tickets
from notifications.access.models import Ticket
from notifications.log import stream
from orders.models import Order
from tests.api.client import Answer, Api


@pytest.fixture
def ticket(as_staff: Api, alice: AbstractUser) -> str:
    """A ticket for alice, which staff's token has asked for."""
    return str(as_staff.post("tickets", {"customer": "alice"}).json["ticket"])


@pytest.fixture
def exchanged(as_nobody: Api, ticket: str) -> Answer:
    return as_nobody.post("tickets/exchange", {"ticket": ticket})


@pytest.fixture
def page(exchanged: Answer) -> Api:
    """A page that has the token."""
    found = Api(None)
    found.headers["Authorization"] = f"Bearer {exchanged.json['token']}"
    return found


def test_a_ticket_is_exchanged_once_without_another_credential(as_nobody: Api, ticket: str, exchanged: Answer):
    assert (exchanged.status, exchanged.headers["Cache-Control"]) == (201, "no-store")
    assert exchanged.json.keys() == {"token", "expires_at"}
    again = as_nobody.post("tickets/exchange", {"ticket": ticket})
    assert (again.status, again.code, again.headers["WWW-Authenticate"]) == (401, "invalid_ticket", "Ticket")
    assert tickets.redeem(ticket) is None


def test_a_ticket_that_opened_a_socket_is_exchanged_for_nothing(as_nobody: Api, ticket: str):
    tickets.redeem(ticket)
    assert as_nobody.post("tickets/exchange", {"ticket": ticket}).status == 401


def test_the_token_follows_its_customers_stream(page: Api, order: Order, alice: AbstractUser):
    assert page.get("notifications").json["user"] == "alice"
    assert page.get("notifications/unread-count").json == {"unread": 1}
    assert page.post("notifications/read", {"up_to": 1}).json == {"up_to": 1, "unread": 0}
    assert stream.position(alice.pk).unread == 0


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "orders", None),
        ("GET", "orders/SO-1", None),
        ("GET", "orders/SO-1/history", None),
        ("POST", "orders", {"number": "SO-2", "customer": "alice"}),
        ("POST", "tickets", {}),
        ("GET", "tokens", None),
    ],
)
def test_the_token_does_nothing_else(page: Api, order: Order, method: str, path: str, body: Any):
    answer = page.call(method, path, body)
    assert (answer.status, answer.code) == (401, "invalid_token")


def test_the_token_is_no_ticket_and_the_ticket_no_token(as_nobody: Api, ticket: str, exchanged: Answer):
    token = exchanged.json["token"]
    assert tickets.redeem(token) is None
    assert as_nobody.post("tickets/exchange", {"ticket": token}).status == 401
    for secret in (ticket, f"stream.{ticket}"):
        assert as_nobody.get("notifications", Authorization=f"Bearer {secret}").status == 401


def test_the_token_is_kept_as_a_hash(exchanged: Answer):
    assert exchanged.json["token"] not in str(list(Ticket.objects.values()))


def test_the_token_ends_with_the_credential_that_asked_for_the_ticket(page: Api, staff: AbstractUser):
    assert page.get("notifications").status == 200
    AuthToken.objects.get(user=staff).delete()
    assert page.get("notifications").status == 401


@pytest.mark.parametrize("way", ["saved", "updated"])
def test_the_token_ends_with_its_customer(page: Api, alice: AbstractUser, way: str):
    if way == "updated":
        type(alice).objects.update(is_active=False)
    else:
        alice.is_active = False
        alice.save()
    assert page.get("notifications").status == 401


def test_the_token_lasts_as_long_as_a_tickets_connection(as_nobody: Api, ticket: str, settings: Any):
    settings.TICKET_CONNECTION_SECONDS = 0
    answer = as_nobody.post("tickets/exchange", {"ticket": ticket})
    bearer = f"Bearer {answer.json['token']}"
    assert as_nobody.get("notifications", Authorization=bearer).status == 401
