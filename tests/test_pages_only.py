"""A call with a token has nothing of a session; pages, and the API for pages, have all of it."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from knox.models import AuthToken

pytestmark = pytest.mark.django_db


def token(user: User) -> dict[str, str]:
    return {"Authorization": f"Bearer {AuthToken.objects.create(user)[1]}"}


def test_a_page_and_a_call_with_a_session_have_their_user_and_a_policy(alice: User):
    browser = Client()
    browser.force_login(alice)
    for path in ("/", "/api/v1/tokens"):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_token_on_a_page_is_no_log_in(alice: User):
    assert Client(headers=token(alice)).get("/").status_code == 302


def test_a_good_session_does_not_help_a_bad_token(alice: User, bob: User):
    browser = Client()
    browser.force_login(alice)
    for authorization in ("Bearer none", "bearer none", "BEARER "):
        assert browser.get("/api/v1/tokens", headers={"Authorization": authorization}).status_code == 401
    answer = browser.get("/api/v1/snapshot", headers=token(bob))
    assert answer.json()["user"] == "bob"


def test_the_description_of_the_api_is_there_for_whoever_sends_a_token(alice: User):
    for path in ("schema", "docs", "asyncapi.yaml"):
        assert Client(headers=token(alice)).get(f"/api/v1/{path}").status_code == 200


def test_the_session_is_left_alone_by_a_call_with_a_token(alice: User, bob: User):
    browser = Client()
    browser.force_login(alice)
    assert browser.get("/api/v1/tokens", headers=token(bob)).status_code == 200
    assert not browser.get("/api/v1/tokens", headers=token(bob)).cookies
    assert browser.get("/api/v1/snapshot").json()["user"] == "alice"
