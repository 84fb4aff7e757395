"""One token's haste is nobody else's wait, and a cache that is away is nobody's."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser, User
from django.core.cache import cache
from django.test import Client

from api import counting
from tests.api.client import Answer, Api
from tests.servers import Redis


@pytest.fixture(autouse=True)
def _counters_begin_at_nothing(settings: Any) -> Iterator[None]:
    # A day: the test does not cross the turn of a window, but for one run in many thousands.
    settings.API_RATE = (3, 86_400)
    counting.shared._paused_until = 0.0
    cache.clear()
    yield
    cache.clear()
    counting.shared._paused_until = 0.0


def use_up(api: Api) -> list[Answer]:
    return [api.get("orders") for _ in range(3)]


def test_a_token_that_calls_too_often_is_told_how_long_to_wait(as_alice: Api):
    answers = use_up(as_alice)
    assert [answer.status for answer in answers] == [200] * 3
    assert [re.sub("t=.*", "t", answer.headers["RateLimit"]) for answer in answers] == [
        f'"default";r={left};t' for left in (2, 1, 0)
    ]
    assert answers[0].headers["RateLimit-Policy"] == '"default";q=3;w=86400'
    refused = as_alice.get("orders")
    assert (refused.status, refused.code) == (429, "throttled")
    [_, reset] = refused.headers["RateLimit"].split("t=")
    assert 0 < int(refused.headers["Retry-After"]) == int(reset) <= 86_400


def test_each_token_is_counted_by_itself(as_alice: Api, alice: AbstractUser, as_bob: Api):
    use_up(as_alice)
    assert as_alice.get("orders").status == 429
    assert as_bob.get("orders").status == 200
    assert Api(alice).get("orders").status == 200


def test_a_session_is_counted_by_its_user(alice: User):
    def fresh() -> Client:
        client = Client()
        client.force_login(alice)
        return client

    statuses = [fresh().get("/api/v1/orders").status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_without_a_limit_nothing_is_counted(as_alice: Api, settings: Any):
    settings.API_RATE = None
    answer = use_up(as_alice)[-1]
    assert "RateLimit" not in answer.headers


@pytest.mark.parametrize("trouble", [Redis.suspend, Redis.kill])
def test_nobody_is_refused_while_the_cache_is_away(
    as_alice: Api, settings: Any, trouble: Callable[[Redis], None], caplog: pytest.LogCaptureFixture
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
        assert as_alice.get("orders").headers["RateLimit"].startswith('"default";r=2')
        trouble(redis)
        answers = [as_alice.get("orders") for _ in range(10)]
        counting.default_cache().close()
    settings.CACHES = usual
    counting.default_cache.cache_clear()
    assert {answer.status for answer in answers} == {200}
    assert not any("RateLimit" in answer.headers for answer in answers)
    # It was asked once, and then left in peace.
    assert len([record for record in caplog.records if record.name == "api.counting"]) == 1
