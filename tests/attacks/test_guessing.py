"""Somebody guesses passwords: by one account, from one address, at once, in the admin, and while the cache is away."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connections
from django.test import Client
from django.urls import reverse

from api import counting
from config import guessing
from tests.polling import poll
from tests.servers import Redis

PASSWORD = "demo"
WRONG = "guessed"
PAGES = ["login", "admin:login"]


class Hashes(MD5PasswordHasher):
    """Counts what is hashed, and how much of it at once."""

    done = 0
    now = 0
    most = 0
    #: What a hash waits for before it ends.
    gate = threading.Event()
    lock = threading.Lock()

    def encode(self, password: str, salt: Any) -> str:
        with self.lock:
            type(self).done += 1
            type(self).now += 1
            type(self).most = max(self.most, self.now)
        self.gate.wait(10)
        with self.lock:
            type(self).now -= 1
        return super().encode(password, salt)


@pytest.fixture(autouse=True)
def _counted_from_nothing(settings: Any) -> Iterator[None]:
    settings.PASSWORD_HASHERS = [f"{__name__}.Hashes"]
    # A day: no test crosses the turn of a window, but for one run in many thousands.
    settings.LOGIN_RATE = (3, 86_400)
    settings.LOGIN_RATE_PER_ADDRESS = (6, 86_400)
    settings.WHITENOISE_AUTOREFRESH = True

    def forget() -> None:
        cache.clear()
        guessing._own._cache().clear()
        counting.shared._paused_until = 0.0
        Hashes.done = Hashes.now = Hashes.most = 0
        Hashes.gate.set()

    forget()
    yield
    forget()


def log_in(
    client: Client, user: str = "alice", password: str = WRONG, *, page: str = "login", address: str = "192.0.2.1"
) -> Any:
    return client.post(reverse(page), {"username": user, "password": password}, REMOTE_ADDR=address)


@pytest.mark.parametrize("page", PAGES)
def test_an_account_is_guessed_at_so_often_and_then_nothing_is_hashed(page: str, alice: User):
    for number in range(3):
        assert log_in(Client(), page=page, address=f"192.0.2.{number}").status_code == 200
    hashed = Hashes.done
    refused = log_in(Client(), password=PASSWORD, page=page, address="192.0.2.9")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400
    assert Hashes.done == hashed


@pytest.mark.parametrize("page", PAGES)
def test_an_address_guesses_so_often_at_whichever_accounts(page: str, alice: User):
    for number in range(6):
        assert log_in(Client(), f"user-{number}", page=page).status_code == 200
    hashed = Hashes.done
    assert log_in(Client(), password=PASSWORD, page=page).status_code == 429
    assert Hashes.done == hashed
    assert log_in(Client(), password=PASSWORD, address="198.51.100.7").status_code == 302


def test_the_addresses_of_one_ipv6_network_are_one(alice: User):
    for number in range(6):
        log_in(Client(), f"user-{number}", address=f"2001:db8::{number}")
    assert log_in(Client(), password=PASSWORD, address="2001:db8::ffff").status_code == 429
    assert log_in(Client(), password=PASSWORD, address="2001:db8:0:1::1").status_code == 302


def test_an_address_that_is_refused_uses_up_nobodys_account(alice: User):
    for number in range(6):
        log_in(Client(), f"user-{number}")
    for _ in range(5):
        assert log_in(Client()).status_code == 429
    assert log_in(Client(), password=PASSWORD, address="198.51.100.7").status_code == 302


def said_by(answer: Any, user: str) -> str:
    """A page without what is another on each: the token of its form, the name that was typed, the time that is left."""
    text = answer.content.decode().replace(str(answer.context["csrf_token"]), "").replace(user, "")
    return re.sub(r"\d+ minutes?", "", text)


@pytest.mark.parametrize("page", PAGES)
def test_a_name_that_nobody_has_is_answered_as_one_that_somebody_has(page: str, alice: User):
    User.objects.create_user("bob")  # as the API makes customers: without a password
    User.objects.create_user("gone", password=PASSWORD, is_active=False)
    seen = {}
    for user in ("alice", "nobody", "bob", "gone"):
        before = Hashes.done
        pages = [log_in(Client(), user, page=page, address=f"192.0.2.{number}") for number in range(4)]
        texts = [said_by(answer, user) for answer in pages]
        seen[user] = ([answer.status_code for answer in pages], texts, Hashes.done - before)
        cache.clear()
    assert seen["alice"][0] == [200, 200, 200, 429]
    assert seen["alice"][2] == 3
    assert seen["nobody"] == seen["bob"] == seen["gone"] == seen["alice"]


def test_who_logs_in_is_not_slowed_and_clears_no_guesses_of_others(alice: User):
    for _ in range(10):
        assert log_in(Client(), password=PASSWORD).status_code == 302
    for number in range(2):
        log_in(Client(), address=f"192.0.2.{number}")
    assert log_in(Client(), password=PASSWORD).status_code == 302
    log_in(Client(), address="192.0.2.3")
    assert log_in(Client(), password=PASSWORD).status_code == 429


def test_a_stranger_locks_nobody_out_of_the_browser_that_they_use(alice: User):
    hers = Client()
    assert log_in(hers, password=PASSWORD).status_code == 302
    hers.post(reverse("logout"))
    for number in range(6):
        log_in(Client(), address=f"192.0.2.{number}")
    assert log_in(Client(), password=PASSWORD, address="198.51.100.7").status_code == 429
    assert log_in(hers, password=PASSWORD).status_code == 302


def test_a_browser_that_is_known_is_known_for_its_account_and_guesses_no_faster(alice: User, bob: User):
    bobs = Client()
    assert log_in(bobs, "bob", PASSWORD).status_code == 302
    bobs.post(reverse("logout"))
    statuses = [log_in(bobs, address=f"192.0.2.{number}").status_code for number in range(4)]
    assert statuses == [200, 200, 200, 429]
    statuses = [log_in(bobs, "bob", address=f"192.0.2.{number}").status_code for number in range(4)]
    assert statuses == [200, 200, 200, 429]


@pytest.mark.django_db(transaction=True)
def test_guesses_that_are_sent_at_once_do_not_slip_through_together():
    User.objects.create_user("alice", password=PASSWORD)
    Hashes.gate.clear()  # nothing is known of any guess before all have come

    def guess(number: int) -> int:
        try:
            return int(log_in(Client(), address=f"192.0.2.{number}").status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(12) as pool:
        guesses = [pool.submit(guess, number) for number in range(12)]
        poll(lambda: sum(each.done() for each in guesses) == 9)
        Hashes.gate.set()
        statuses = sorted(each.result() for each in guesses)
    assert statuses == [200] * 3 + [429] * 9


@pytest.mark.django_db(transaction=True)
def test_a_process_hashes_few_passwords_at_once_whoever_asks(settings: Any):
    settings.LOGIN_RATE = settings.LOGIN_RATE_PER_ADDRESS = None
    User.objects.create_user("alice", password=PASSWORD)

    def ask(_: int) -> bool:
        try:
            return authenticate(username="alice", password=PASSWORD) is not None
        finally:
            connections.close_all()

    Hashes.most = 0
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(24)))
    assert Hashes.most == guessing.HASHES


def test_a_password_that_finds_no_turn_is_told_to_come_again(alice: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guessing, "PATIENCE", 0.01)
    with guessing._hashing():
        for _ in range(5):
            busy = log_in(Client(), password=PASSWORD)
            assert busy.status_code == 503
            assert "Retry-After" in busy.headers
    # None of them counted.
    assert log_in(Client(), password=PASSWORD).status_code == 302


@pytest.mark.parametrize("trouble", [Redis.suspend, Redis.kill])
def test_while_the_cache_is_away_the_process_counts_by_itself(
    alice: User, settings: Any, trouble: Callable[[Redis], None]
):
    usual = settings.CACHES
    with Redis() as redis:
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": redis.url,
                "OPTIONS": {"socket_connect_timeout": 0.2, "socket_timeout": 0.2},
            }
        }
        counting.default_cache.cache_clear()
        assert log_in(Client()).status_code == 200
        trouble(redis)
        statuses = [log_in(Client(), address=f"192.0.2.{number}").status_code for number in range(4)]
        counting.default_cache().close()
    settings.CACHES = usual
    counting.default_cache.cache_clear()
    assert statuses == [200, 200, 200, 429]


def test_no_counter_and_no_log_holds_the_name_that_was_typed(alice: User, caplog: pytest.LogCaptureFixture):
    """People type their password into the field of the name."""
    for number in range(5):
        log_in(Client(), "hunter2", address=f"192.0.2.{number}")
    assert "log-ins" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_name_longer_than_any_is_nobodys_at_once(db: None):
    assert log_in(Client(), "a\u0300" * 500_000).status_code == 200
    assert Hashes.done == 0
