"""What is kept of people: every text of every table is named, shown to who asks for it, and gone when it has to be."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken

from notifications.access import credentials, tickets
from notifications.log import stream
from notifications.personal import tables
from notifications.personal.forgetting import forget
from notifications.personal.tables import Table
from orders import conversation, services
from orders.models import Order, StaleOrder
from tests.api.client import Api
from tests.database import elsewhere, on_postgres, somebody_waits_for_a_lock
from tests.polling import poll

pytestmark = pytest.mark.django_db

#: What tells of alice, each in a place of its own.
WORDS = ("alice.liddell", "Pleasance", "alice@wonderland.example", "the gate code is 4711", "LOOKING-GLASS-9", "dodo")


def command(name: str, *words: str) -> str:
    said = StringIO()
    call_command(name, *words, stdout=said)
    return said.getvalue()


@pytest.fixture
def everywhere(staff: User, bob: User) -> User:
    """Alice, of whom something stands in every table that can hold it."""
    alice = User.objects.create_user(
        "alice.liddell", email="alice@wonderland.example", password="demo", last_name="Pleasance"
    )
    api = Api(staff)
    for customer in ("alice.liddell", "bob"):
        new = {
            "number": f"SO-{customer}"[:6],
            "customer": customer,
            "metadata": {"for": "the dodo"},
            "currency": "EUR",
        }
        assert api.post("orders", new, Idempotency_Key=customer).status == 201
    order = Order.objects.get(customer=alice)
    services.update_order(
        order=order, to="shipped", fields={"tracking_number": "LOOKING-GLASS-9"}, note="the gate code is 4711"
    )
    conversation.write(order=order, author=alice, text="It is for Pleasance")
    conversation.write(order=order, author=staff, text="It is in the van")
    AuthToken.objects.create(alice, expiry=timedelta(days=1))
    tickets.issue(alice.pk)
    Client().force_login(alice)
    for about, text in ((alice, str(alice)), (AuthToken.objects.get(user=alice), f"digest : {alice}")):
        LogEntry.objects.log_actions(staff.pk, [about], CHANGE)
        assert LogEntry.objects.filter(object_repr__endswith=text.rpartition(" ")[2]).exists()
    return alice


def everything() -> str:
    """All rows of all tables."""
    return "\n".join(
        json.dumps([model._meta.label, *row], cls=DjangoJSONEncoder, ensure_ascii=False)
        for model in apps.get_models(include_auto_created=True)
        for row in model._base_manager.order_by("pk").values_list()
    )


def test_every_text_of_every_table_is_named():
    assert list(tables.unnamed()) == []


def test_a_text_that_nobody_has_named_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(tables._tables, "orders.order", Table(model="orders.Order", personal=("metadata", "notes")))
    found = list(tables.unnamed())
    assert {"orders.Order.tracking_number", "orders.Order.number", "orders.Order.notes, which is no column"} <= set(
        found
    )
    assert "orders.Order.metadata" not in found


def test_the_export_has_what_is_kept_and_nothing_to_log_in_with(everywhere: User):
    text = command("export_customer", "alice.liddell")
    found = json.loads(text)
    for word in WORDS:
        assert word in text
    assert found.keys() >= {
        "user",
        "account",
        "orders",
        "order_history",
        "notifications",
        "tokens",
        "tickets",
        "sessions",
    }
    assert {row["frame"]["order"]["number"] for row in found["notifications"]} == {"SO-ali"}
    assert [row["text"] for row in found["messages"]] == ["It is for Pleasance", "It is in the van"]
    assert {title: len(found[title]) for title in ("orders", "order_history", "tokens", "tickets", "sessions")} == {
        "orders": 1,
        "order_history": 2,
        "tokens": 1,
        "tickets": 1,
        "sessions": 1,
    }
    token = AuthToken.objects.get(user=everywhere)
    for secret in (everywhere.password, token.digest, token.token_key, "SO-bob"):
        assert secret not in text


def test_nothing_tells_of_a_customer_who_was_forgotten(everywhere: User):
    said = command("forget_customer", "alice.liddell")
    assert {"orders.Order: 1", "orders.StatusChange: 1", "sessions.Session: 1", "Forgotten."} <= set(said.splitlines())
    kept = everything()
    for word in WORDS[:-1]:
        assert word not in kept
    order = Order.objects.get(number="SO-ali")
    assert (order.status, order.currency, order.metadata) == ("shipped", "EUR", {})
    assert order.history.count() == 2
    assert not AuthToken.objects.filter(user=everywhere).exists()


def test_others_are_not_touched(everywhere: User, bob: User):
    before = command("export_customer", "bob")
    command("forget_customer", "alice.liddell")
    after = json.loads(command("export_customer", "bob"))
    assert after | {"exported_at": ""} == json.loads(before) | {"exported_at": ""}
    assert Order.objects.get(customer=bob).metadata == {"for": "the dodo"}


def test_a_dry_run_says_the_same_and_changes_nothing(everywhere: User):
    before = everything()
    said = command("forget_customer", "alice.liddell", "--dry-run")
    assert everything() == before
    assert said.splitlines()[:-1] == command("forget_customer", "alice.liddell").splitlines()[:-1]


def test_whoever_was_forgotten_cannot_come_back(everywhere: User):
    session = Client()
    session.force_login(everywhere)
    key = session.session.session_key
    assert credentials.from_session(key or "") is not None
    command("forget_customer", "alice.liddell")
    assert credentials.from_session(key or "") is None
    assert not Client().login(username="alice.liddell", password="demo")
    everywhere.refresh_from_db()
    assert not everywhere.is_active
    assert not everywhere.has_usable_password()


def test_a_name_that_was_forgotten_is_free_for_somebody_else(everywhere: User):
    command("forget_customer", "alice.liddell")
    order = services.create_order(number="SO-9", customer="alice.liddell")
    assert order.customer_id != everywhere.pk
    assert stream.position(order.customer_id).head == 1


@pytest.mark.parametrize("name", ["nobody", "staff"])
@pytest.mark.parametrize("what", ["forget_customer", "export_customer"])
def test_staff_and_unknown_names_are_not_forgotten(everywhere: User, what: str, name: str):
    before = everything()
    if (what, name) != ("export_customer", "staff"):
        with pytest.raises(CommandError, match=name):
            command(what, name)
    assert everything() == before


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_forgetting_and_changing_an_order_do_not_wait_for_each_other_in_a_circle(everywhere: User):
    with elsewhere() as other, elsewhere() as looking:  # PostgreSQL says within a transaction what it has said before
        with transaction.atomic():
            order = Order.objects.select_for_update(no_key=True).get(customer=everywhere)
            forgotten = other.begin(lambda: forget(everywhere))
            poll(lambda: forgotten.done() or looking.do(somebody_waits_for_a_lock), saying="somebody who waits")
            services.update_order(order=order, to="delivered", note="the gate code is 4711")
        assert forgotten.result()["orders.StatusChange"] == 2
    assert "4711" not in everything()
    assert Order.objects.get(pk=order.pk).status == "delivered"


# Another name.


def test_a_renamed_customer_keeps_orders_log_ins_and_tokens(everywhere: User):
    api = Api(everywhere)
    order, before = api.get("orders/SO-ali"), stream.position(everywhere.pk)
    assert command("rename_customer", "alice.liddell", "alice.hargreaves") == "alice.liddell is alice.hargreaves now.\n"
    again = api.get("orders/SO-ali", If_None_Match=order.headers["ETag"])
    assert (again.status, again.json["customer"]) == (200, "alice.hargreaves")
    assert again.headers["ETag"] != order.headers["ETag"]
    assert again.json["version"] == order.json["version"] + 1
    assert stream.position(everywhere.pk) == before, "the customer is told nothing"


def rename_in_the_admin(to: str) -> Any:
    root = User.objects.create_superuser("root", password="demo")
    client = Client()
    client.force_login(root)
    user = User.objects.get(username="alice.liddell")
    joined = timezone.localtime(user.date_joined)
    form = {
        "username": to,
        "is_active": "on",
        "date_joined_0": f"{joined:%Y-%m-%d}",
        "date_joined_1": f"{joined:%H:%M:%S}",
    }
    return client.post(f"/admin/auth/user/{user.pk}/change/", form)


def test_a_customer_renamed_in_the_admin_has_other_orders_too(everywhere: User):
    before = Order.objects.get(customer=everywhere)
    assert rename_in_the_admin("alice.hargreaves").status_code == 302
    after = Order.objects.get(customer=everywhere)
    assert (after.customer.get_username(), after.version) == ("alice.hargreaves", before.version + 1)
    assert after.updated_at > before.updated_at
    before.carrier = "DHL"
    with pytest.raises(StaleOrder):
        before.save()


def test_a_user_who_is_saved_under_the_same_name_changes_no_order(everywhere: User):
    version = Order.objects.get(customer=everywhere).version
    everywhere.first_name = "Alice"
    everywhere.save()
    assert Order.objects.get(customer=everywhere).version == version


@pytest.mark.parametrize(
    ("name", "new"),
    [("nobody", "somebody"), ("alice.liddell", "bob"), ("alice.liddell", "BOB"), ("alice.liddell", " ")],
)
def test_a_name_that_cannot_be_is_refused(everywhere: User, name: str, new: str):
    before = everything()
    with pytest.raises(CommandError):
        command("rename_customer", name, new)
    assert everything() == before
