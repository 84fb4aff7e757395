"""`manage.py create_token`: a system's token, and its account."""

from io import StringIO

import pytest
from django.contrib.auth.models import AbstractUser, User
from django.core.management import CommandError, call_command
from knox.models import AuthToken

from notifications.access import credentials
from tests.api.client import Api


def create(*words: str) -> str:
    printed = StringIO()
    call_command("create_token", *words, stdout=printed)
    return printed.getvalue().strip()


def test_a_system_gets_an_account_with_the_named_permissions_and_no_password(db: None):
    names = ["notifications.issue_ticket", "orders.view_order"]
    found = credentials.find_token(create("back-end", "--create", "--permissions", *names))
    assert found is not None
    assert (found.user.get_username(), found.user.get_all_permissions()) == ("back-end", set(names))
    assert not found.user.has_usable_password()
    assert not found.user.is_staff
    again = credentials.find_token(create("back-end", "--create", "--permissions", "orders.change_order"))
    assert again is not None
    assert again.user == found.user
    assert User.objects.get(username="back-end").get_all_permissions() == {*names, "orders.change_order"}


def test_the_first_account_of_a_shop_may_do_what_its_systems_do_every_day(alice: AbstractUser):
    api = Api(None)
    api.headers["Authorization"] = f"Bearer {create('erp', '--create', '--permissions', 'api', '--name', ' nightly ')}"
    assert [token["name"] for token in api.get("tokens").json["results"]] == ["nightly"]
    assert api.post("orders", {"number": "SO-1", "customer": "alice"}).status == 201
    assert api.patch("orders/SO-1", {"status": "processing"}).status == 200
    assert api.post("tickets", {"customer": "alice"}).status == 201
    assert len(api.get("orders").json["results"]) == 1
    # Not every step, whatever the lifecycle says.
    assert api.patch("orders/SO-1", {"status": "returned", "note": "Sorry"}).code == "illegal_transition"


@pytest.mark.parametrize(
    "words",
    [
        ["back-end"],
        ["back\tend", "--create"],
        ["x" * 151, "--create"],
        ["Alice"],
        ["Alice", "--create"],
        ["back-end", "--create", "--permissions", "orders.view_ordr"],
        ["back-end", "--create", "--permissions", "app"],
        ["back-end", "--create", "--days", "0"],
        ["back-end", "--create", "--name", "n" * 65],
        ["back-end", "--create", "--name", "two\nlines"],
    ],
)
def test_what_cannot_be_made_as_it_is_named_is_not_made(words: list[str], alice: AbstractUser):
    with pytest.raises(CommandError):
        create(*words)
    assert list(User.objects.all()) == [alice]
    assert not AuthToken.objects.exists()


def test_a_name_is_taken_in_the_spelling_that_is_kept(alice: AbstractUser):
    for name in (" alice ", "\uff41lice"):
        found = credentials.find_token(create(name))
        assert found is not None
        assert found.user == alice


def test_an_account_may_have_any_name_that_a_customer_may_have(db: None):
    create("DOMAIN\\erp|1", "--create")
    assert User.objects.get().get_username() == "DOMAIN\\erp|1"
