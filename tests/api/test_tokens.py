"""Tokens are shown once, kept as hashes, listed and revoked by their owner, and nobody makes one of who may do more."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser, Permission
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.test import Client
from knox.models import AuthToken

from api import tokens
from tests.api.client import Api


def test_a_caller_sees_their_own_tokens_and_which_one_they_use(as_alice: Api, as_bob: Api, alice: AbstractUser):
    other, secret = AuthToken.objects.create(alice, expiry=None)
    listed = as_alice.get("tokens").json["results"]
    assert [(token["id"], token["current"], bool(token["expires_at"])) for token in listed] == [
        (other.token_key, False, False),
        (as_alice.headers["Authorization"].removeprefix("Bearer ")[:15], True, True),
    ]
    assert secret not in str(listed)
    assert other.digest not in str(listed)


def test_a_revoked_token_is_none(as_alice: Api, alice: AbstractUser):
    api = Api(alice)
    assert api.get("tokens").status == 200
    key = api.headers["Authorization"].removeprefix("Bearer ")[:15]
    answer = as_alice.delete(f"tokens/{key}")
    assert (answer.status, answer.content) == (204, b"")
    assert api.get("tokens").code == "invalid_token"
    assert as_alice.delete(f"tokens/{key}").code == "not_found"


def test_nobody_revokes_a_token_of_somebody_else(as_bob: Api, as_alice: Api):
    key = as_alice.headers["Authorization"].removeprefix("Bearer ")[:15]
    assert as_bob.delete(f"tokens/{key}").code == "not_found"
    assert as_alice.get("tokens").status == 200


def test_a_token_has_the_name_that_its_maker_gave_it(as_alice: Api, alice: AbstractUser):
    named = Api(None)
    named.headers["Authorization"] = f"Bearer {tokens.create(alice, days=1, name='warehouse scanner')}"
    assert [token["name"] for token in named.get("tokens").json["results"]] == ["warehouse scanner", ""]


def test_the_log_tells_which_token_has_called(alice: AbstractUser, as_bob: Api, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", logger="config.request_id")
    named = Api(None)
    named.headers["Authorization"] = f"Bearer {tokens.create(alice, days=1, name='warehouse scanner')}"
    for api in (named, as_bob):
        api.get("orders")
    assert caplog.messages == ["GET /api/v1/orders 200 by 'warehouse scanner'", "GET /api/v1/orders 200"]


@pytest.mark.parametrize("name", ["n" * 65, "two\nlines", "\x1b[31m", "\u202e"])
def test_a_name_that_would_break_a_list_or_a_log_is_refused(alice: AbstractUser, name: str):
    with pytest.raises(ValidationError):
        tokens.create(alice, days=1, name=name)
    assert not AuthToken.objects.exists()


@pytest.fixture
def admin(staff: Any) -> Client:
    """Staff, who may make tokens, in the admin."""
    staff.user_permissions.add(*Permission.objects.filter(content_type__app_label="knox"))
    client = Client()
    client.force_login(staff)
    return client


LIST = "/admin/knox/authtoken/"
ADD = f"{LIST}add/"


def test_the_admin_shows_a_new_token_this_once(admin: Client, alice: Any):
    page = admin.post(ADD, {"user": alice.pk, "days": 30})
    assert "no-store" in page.headers["Cache-Control"]
    [token] = AuthToken.objects.filter(user=alice)
    secret = page.content.decode().split('<code id="token">')[1].split("<")[0]
    api = Api(None)
    api.headers["Authorization"] = f"Bearer {secret}"
    assert api.get("tokens").json["results"][0]["id"] == token.token_key
    kept = [
        *(cookie.value for cookie in admin.cookies.values()),
        *(str(s.get_decoded()) for s in Session.objects.all()),
    ]
    assert not any(secret in place for place in kept)
    for later in (f"/admin/knox/authtoken/{token.digest}/change/", "/admin/knox/authtoken/"):
        assert secret not in admin.get(later).content.decode()


def may(user: Any, *permissions: str) -> Any:
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    return get_user_model().objects.get(pk=user.pk)  # which has looked up no permission yet


def test_the_admin_names_tokens_and_finds_them_by_their_names(admin: Client, alice: Any, bob: Any):
    for user, name in ((alice, "warehouse scanner"), (bob, "")):
        admin.post(ADD, {"user": user.pk, "days": 30, "name": name})
    [token] = AuthToken.objects.filter(user=alice)
    for page in (LIST, f"{LIST}?q=scanner", f"{LIST}{token.digest}/change/"):
        assert "warehouse scanner" in admin.get(page).content.decode()
    assert "bob" not in admin.get(f"{LIST}?q=scanner").content.decode()
    refused = admin.post(ADD, {"user": alice.pk, "days": 30, "name": "n" * 65})
    assert "at most 64 characters" in refused.content.decode()
    assert AuthToken.objects.filter(user=alice).count() == 1


MORE = {
    "a superuser": lambda user: setattr(user, "is_superuser", True),
    "a service account that is not staff": lambda user: may(user, "add_user"),
    "somebody who is deactivated": lambda user: setattr(user, "is_active", False),
}


@pytest.mark.parametrize("who", MORE)
def test_staff_make_no_token_of(who: str, admin: Client, alice: Any):
    MORE[who](alice)
    alice.save()
    page = admin.post(ADD, {"user": alice.pk, "days": 30})
    assert "a superuser can make the token" in page.content.decode()
    assert not AuthToken.objects.filter(user=alice).exists()


def test_staff_make_tokens_of_who_may_do_less(admin: Client, alice: Any):
    may(alice, "view_order")
    alice.is_staff = True
    alice.save()
    admin.post(ADD, {"user": alice.pk, "days": 30})
    assert AuthToken.objects.filter(user=alice).exists()


def test_who_may_only_add_tokens_gets_no_customers_and_no_shops_but_their_own(staff: Any, alice: Any, bob: Any):
    may(bob, "view_order", "change_order", "issue_ticket")  # the shop's service account
    staff.user_permissions.set(Permission.objects.filter(codename="add_authtoken"))
    client = Client()
    client.force_login(staff)
    for user in (alice, bob, staff):
        client.post(ADD, {"user": user.pk, "days": 30})
    assert {token.user for token in AuthToken.objects.all()} == {staff}


def test_a_token_is_changed_by_nobody(admin: Client, alice: Any):
    token, _ = AuthToken.objects.create(alice)
    page = admin.post(f"/admin/knox/authtoken/{token.digest}/change/", {"user": alice.pk})
    assert page.status_code == 403


def test_a_token_stays_when_the_password_changes_and_ends_with_the_account(as_alice: Api, alice: AbstractUser):
    alice.set_password("another passw0rd")
    alice.save()
    assert as_alice.get("tokens").status == 200
    alice.is_active = False
    alice.save()
    assert as_alice.get("tokens").code == "invalid_token"
