"""What the URLs of databases and brokers come to: every form that people use, and the URL's own options before ours."""

from typing import Any

import pytest

from config.connections import broker_url, celery_broker, database, redis_urls
from notifications.hints.redis_urls import Sentinel, sentinel

WHERE = ("HOST", "PORT", "NAME", "USER", "PASSWORD")


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgres://u:pass@db.example:5433/shop", ("db.example", "5433", "shop", "u", "pass")),
        ("postgresql://db.example/shop", ("db.example", "", "shop", "", "")),
        ("postgres://u%40x:p%40%2F%3A%23+@db.example/s%20h", ("db.example", "", "s h", "u@x", "p@/:#+")),
        ("postgres://u:p:q@db.example/shop", ("db.example", "", "shop", "u", "p:q")),
        ("postgres://u@[::1]:5433/shop", ("::1", "5433", "shop", "u", "")),
        ("postgres://u@%2Fvar%2Frun%2FPostgres/shop", ("/var/run/Postgres", "", "shop", "u", "")),
        ("postgres:////run/postgresql/shop", ("/run/postgresql", "", "shop", "", "")),
        ("postgres://u@one.example,two.example/shop", ("one.example,two.example", "", "shop", "u", "")),
        ("postgres://u@one.example,two.example:5433/shop", ("one.example,two.example", "5432,5433", "shop", "u", "")),
        ("postgres:///shop", ("", "", "shop", "", "")),
        ("postgres://?service=shop", ("", "", "", "", "")),
        ("sqlite:///shop.db", ("", "", "shop.db", "", "")),
        ("sqlite:////srv/a+b%20c.db", ("", "", "/srv/a+b c.db", "", "")),
        ("sqlite://", ("", "", ":memory:", "", "")),
        ("sqlite://:memory:", ("", "", ":memory:", "", "")),
    ],
)
def test_a_database_url_says_where_and_as_whom(url: str, where: tuple[str, ...]):
    found = database(url)
    assert tuple(found[name] for name in WHERE) == where


@pytest.mark.parametrize(
    ("query", "kept", "options"),
    [
        ("", {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True}, {"connect_timeout": 5, "keepalives_idle": 10}),
        ("?CONN_MAX_AGE=0", {"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": True}, {"connect_timeout": 5}),
        ("?conn_max_age=60&CONN_HEALTH_CHECKS=false", {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": False}, {}),
        ("?DISABLE_SERVER_SIDE_CURSORS=True", {"DISABLE_SERVER_SIDE_CURSORS": True}, {}),
        ("?sslmode=verify-full&sslrootcert=%2Fca.pem", {}, {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}),
        ("?connect_timeout=2&tcp_user_timeout=0", {}, {"connect_timeout": 2, "tcp_user_timeout": 0}),
        ("?service=shop&application_name=007", {}, {"service": "shop", "application_name": "007"}),
        ("?host=/run/postgresql&pool=true", {}, {"host": "/run/postgresql", "pool": True}),
    ],
)
def test_what_a_database_url_says_wins_over_what_we_would(query: str, kept: Any, options: Any):
    found = database(f"postgres://u@db.example/shop{query}")
    assert {name: found[name] for name in kept} == kept
    assert {name: found["OPTIONS"][name] for name in options} == options
    assert not found["OPTIONS"].keys() & {"CONN_MAX_AGE", "conn_max_age", "CONN_HEALTH_CHECKS"}


def test_a_database_in_a_file_has_options_too():
    found = database("sqlite:///shop.db?timeout=5&CONN_MAX_AGE=0")
    assert (found["CONN_MAX_AGE"], found["OPTIONS"]["timeout"]) == (0, 5)
    assert found["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("redis://one.example/0", None),
        ("unix:///run/redis.sock?db=1", None),
        ("sentinel://one.example", Sentinel((("one.example", 26379),), "mymaster", None, None, 0)),
        (
            "sentinel://shop:p%40ss@one.example:26380,[::1]/cache?db=3",
            Sentinel((("one.example", 26380), ("::1", 26379)), "cache", "shop", "p@ss", 3),
        ),
    ],
)
def test_a_sentinel_is_known_by_its_scheme(url: str, found: Sentinel | None):
    assert sentinel(url) == found


def test_several_redis_are_told_from_several_hosts_of_a_sentinel():
    text = "redis://one.example/0, sentinel://:p@two.example,three.example:26380/shop"
    assert redis_urls(text) == ["redis://one.example/0", "sentinel://:p@two.example,three.example:26380/shop"]


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("redis://:p@one.example/1", ("redis://:p@one.example/1", {})),
        ("sentinel://one.example", ("sentinel://one.example:26379/0", {"master_name": "mymaster"})),
        (
            "sentinel://:p%40%2F@one.example,[::1]:26380/shop?db=3",
            (
                "sentinel://:p%40%2F@one.example:26379/3;sentinel://:p%40%2F@[::1]:26380/3",
                {"master_name": "shop"},
            ),
        ),
    ],
)
def test_celery_gets_each_host_of_a_sentinel_as_a_url(url: str, broker: tuple[str, dict[str, str]]):
    assert celery_broker(url) == broker


@pytest.mark.parametrize("url", ["amqp://mq.example", "sqs://", "sentinel://one.example:1;sentinel://two.example:2/0"])
def test_another_broker_is_kombus_to_read(url: str):
    assert broker_url(url) == url
