"""Tokens are shown once, kept as hashes, listed and revoked by their owner, and nobody makes one of who may do more."""

from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser, Permission
from django.contrib.sessions.models import Session
from django.test import Client
from knox.models import AuthToken

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


@pytest.fixture
def admin(staff: Any) -> Client:
    """Staff, who may make tokens, in the admin."""
    staff.user_permissions.add(*Permission.objects.filter(content_type__app_label="knox"))
    client = Client()
    client.force_login(staff)
    return client


ADD = "/admin/knox/authtoken/add/"


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


@pytest.mark.parametrize("rank", ["is_staff", "is_superuser"])
def test_staff_make_no_token_of_who_may_do_more(admin: Client, alice: Any, rank: str):
    setattr(alice, rank, True)
    alice.save()
    page = admin.post(ADD, {"user": alice.pk, "days": 30})
    assert "made by a superuser" in page.content.decode()
    assert not AuthToken.objects.filter(user=alice).exists()


def test_a_token_is_changed_by_nobody(admin: Client, alice: Any):
    token, _ = AuthToken.objects.create(alice)
    page = admin.post(f"/admin/knox/authtoken/{token.digest}/change/", {"user": alice.pk})
    assert page.status_code == 403
