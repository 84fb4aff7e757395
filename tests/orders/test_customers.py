"""Customers' names: any that a shop has, in one spelling, and never two that differ only by case or spelling."""

from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from orders import customers, services
from orders.customers import CustomerName, NameTaken
from tests.database import OpenTransaction, elsewhere, on_postgres, somebody_waits_for_a_lock
from tests.polling import poll

#: As shops, and those who log people in for them, have them.
NAMES = [
    "o'brien@example.ie",
    "auth0|5f7c8ec7c33c6c004bbafe82",
    "DOMAIN\\bob",
    "gid://shopify/Customer/1",
    "Müller & Söhne GmbH",
    "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
    "玄関",
    "4711",
]
#: A name, and others that are too alike.
ALIKE = [
    ("alice", ["Alice", "ALICE", "ali\u200dce"]),
    ("Straße", ["STRASSE", "strasse", "STRAẞE"]),
    ("Åsa", ["åsa", "A\u030aSA"]),
    ("ΣΊΣΥΦΟΣ", ["σίσυφος"]),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_shops_own_is_kept_as_it_is(db: None, name: str):
    customers.check_name(name)
    made = services.customer_named(name)
    assert made.get_username() == name
    assert services.customer_named(name) == made
    made.full_clean(exclude=["username", "password"])


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("\uff41lice", "alice"),
        (" alice\u00a0", "alice"),
        ("A\u030asa", "Åsa"),
        ("ﬁona", "fiona"),
        ("x" * 151, "x" * 151),
    ],
)
def test_a_name_has_one_spelling_which_is_its_own(typed: str, kept: str):
    assert customers.spelled(typed) == customers.spelled(kept) == kept


def test_who_is_called_as_the_log_in_form_has_it_can_log_in(client: Any, db: None):
    made = services.customer_named("ﬁona|Å")
    made.set_password("a new passw0rd")
    made.save()
    for typed in ("ﬁona|Å", " fiona|A\u030a "):
        client.logout()
        client.post("/login", {"username": typed, "password": "a new passw0rd"})
        assert client.session["_auth_user_id"] == str(made.pk)


@pytest.mark.parametrize(("name", "others"), ALIKE)
def test_no_two_customers_are_alike(db: None, name: str, others: list[str]):
    made = services.customer_named(name)
    for other in others:
        with pytest.raises(services.CustomerExists) as refused:
            services.customer_named(other)
        assert refused.value.existing == name
    assert list(get_user_model().objects.all()) == [made]


def test_names_that_look_alike_to_nobody_are_several_customers(db: None):
    for name in ("alice", "alice2", "al ice", "álice", "алисе", "alice@shop.example"):
        services.customer_named(name)
    assert get_user_model().objects.count() == CustomerName.objects.count() == 6


def test_a_refusal_leaves_the_transaction_usable(alice: User):
    with transaction.atomic():
        with pytest.raises(services.CustomerExists):
            services.create_order(number="SO-1", customer="Alice")
        assert services.create_order(number="SO-1", customer="alice").customer == alice


@on_postgres
@pytest.mark.django_db(transaction=True)
def test_of_two_names_that_are_alike_and_come_at_once_one_is_refused():
    with elsewhere() as other:
        first = OpenTransaction(other, lambda: services.customer_named("alice"))
        with elsewhere() as third:
            second = third.begin(lambda: services.customer_named("Alice"))
            poll(somebody_waits_for_a_lock, saying="the second to wait for the first")
            first.commit()
            with pytest.raises(services.CustomerExists, match="alice"):
                second.result()
    assert [user.get_username() for user in get_user_model().objects.all()] == ["alice"]


def test_whoever_saves_a_user_takes_the_name(alice: User):
    with pytest.raises(NameTaken, match="alice"):
        User.objects.create_user("ALICE")
    bob = User.objects.create_user("bob")
    bob.username = "Alice"
    with pytest.raises(NameTaken), transaction.atomic():
        bob.save()
    bob.save(update_fields=["last_login"])
    assert set(User.objects.values_list("username", flat=True)) == {"alice", "bob"}


def test_a_name_is_free_again_when_its_user_is_renamed_or_gone(alice: User, bob: User):
    alice.username = "ALICE"
    alice.save()
    alice.username = "carol"
    alice.save()
    assert services.customer_named("Alice") not in (alice, bob)
    bob.delete()
    assert services.customer_named("Bob").get_username() == "Bob"


def test_a_user_who_was_renamed_past_save_holds_no_name(alice: User):
    User.objects.filter(pk=alice.pk).update(username="carol")
    assert services.customer_named("Alice") != alice


def test_two_who_were_alike_before_stay_as_they_are(alice: User):
    twin = User(username="Alice")
    User.objects.bulk_create([twin])  # which sends no signal, as nobody did then
    assert services.customer_named("Alice") == twin
    assert services.customer_named("alice") == alice
    for user in User.objects.all():
        user.set_password("a new passw0rd")
        user.save()
    assert authenticate(username="Alice", password="a new passw0rd") == twin


def test_the_migration_takes_the_names_of_all_who_are_there(alice: User, bob: User):
    CustomerName.objects.all().delete()
    twin = User(username="Alice")
    User.objects.bulk_create([twin])
    import_module("orders.migrations.0003_names").remember_names(apps, None)
    assert set(CustomerName.objects.values_list("user", flat=True)) == {alice.pk, bob.pk}
    with pytest.raises(services.CustomerExists, match="bob"):
        services.customer_named("BOB")


def test_the_service_makes_nobody_whom_the_check_refuses(db: None):
    for name in ("", " ", "a\nb", "\u202eecila", "a\u200bb", "\u200d", "x" * 151):
        with pytest.raises(ValidationError):
            services.customer_named(name)
    assert not get_user_model().objects.exists()
