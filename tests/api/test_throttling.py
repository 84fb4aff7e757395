"""One token's haste is nobody else's wait, and a cache that is away is nobody's."""

import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser, User
from django.core.cache import cache
from django.test import Client

from api import counting, throttling
from tests.api.client import Answer, Api
from tests.polling import poll
from tests.servers import Redis


@pytest.fixture(autouse=True)
def _counters_begin_at_nothing(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # A day: the test does not cross the turn of a window, but for one run in many thousands.
    settings.API_RATE = (3, 86_400)
    counting.shared._paused_until = 0.0
    cache.clear()
    monkeypatch.setattr(throttling, "requests", counting.Tally(counting.shared))
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


DAY = 86_400


def passed(processes: list[counting.Tally], turns: list[int], *, limit: int, step: int) -> int:
    """How many of a caller's requests are within the limit, as each goes to the process whose turn it is."""
    numbers = (processes[turn].add_one("caller", DAY, limit=limit, step=step) for turn in turns)
    return sum(number is not None and number <= limit for number in numbers)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_that_count_together_let_pass_the_limit_and_little_more(count: int, seed: int):
    processes = [counting.Tally(counting.shared) for _ in range(count)]
    chance, limit, step = random.Random(seed), 300, 20
    # Some are asked often and some seldom.
    turns = chance.choices(range(count), weights=[chance.random() for _ in processes], k=limit + count * step)
    turns += [turn for turn in range(count) for _ in range(step)]
    assert limit <= passed(processes, turns, limit=limit, step=step) <= limit + (count - 1) * (step - 1)


def test_a_caller_that_has_passed_the_limit_costs_the_cache_nothing_more():
    process = counting.Tally(counting.shared)
    assert passed([process], [0] * 5, limit=3, step=1) == 3
    cache.clear()
    assert passed([process], [0] * 5, limit=3, step=1) == 0


def test_a_window_begins_anew_and_callers_of_long_ago_are_forgotten():
    process = counting.Tally(counting.shared, size=2)
    for name in ("first", "second", "third"):
        assert process.add_one(name, DAY, limit=1, step=1) == 1
    assert len(process._counts) == 2
    process.add_one("caller", 1, limit=1, step=1)
    poll(lambda: process.add_one("caller", 1, limit=1, step=1) == 1)


def test_what_was_counted_while_the_cache_was_away_counts_when_it_is_back():
    process, other = (counting.Tally(counting.shared) for _ in range(2))
    counting.shared._paused_until = float("inf")
    assert [process.add_one("caller", DAY, limit=10, step=1) for _ in range(3)] == [None] * 3
    counting.shared._paused_until = 0.0
    assert process.add_one("caller", DAY, limit=10, step=1) == 4
    assert other.add_one("caller", DAY, limit=10, step=1) == 5
