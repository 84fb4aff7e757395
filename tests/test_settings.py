"""The settings as whoever deploys meets them: documented, from the environment or a file, and strict."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.environment import rate
from tests.deployment import machine_environment, procfile
from tests.polling import PATIENCE
from tests.process import ROOT, reserve_port

USABLE = {"SECRET_KEY": "hush" * 10, "ALLOWED_HOSTS": "shop.example", "DATABASE_URL": "postgres://u@db.example/shop"}


def start(command: list[str], **settings: str | None) -> subprocess.CompletedProcess[str]:
    """Run a command with those settings and nothing else of this session's."""
    env = {name: value for name, value in (machine_environment() | USABLE | settings).items() if value is not None}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=5 * PATIENCE, check=False)


def settings_with(*names: str, **settings: str | None) -> dict[str, Any]:
    """The values that those settings come to."""
    program = f"import json; from config import settings; print(json.dumps([getattr(settings, n) for n in {names!r}]))"
    done = start([sys.executable, "-c", program], **settings)
    assert done.returncode == 0, done.stderr
    return dict(zip(names, json.loads(done.stdout), strict=True))


REFUSED: list[tuple[str, str | None]] = [
    ("SECRET_KEY", None),
    ("SECRET_KEY", ""),
    ("SECRET_KEY", "x" * 31),
    ("SECRET_KEY_FILE", "/nowhere/key"),
    ("ALLOWED_HOSTS", None),
    ("ALLOWED_ORIGINS", "*"),
    ("ALLOWED_ORIGINS", "shop.example"),
    ("ALLOWED_ORIGINS", "https://shop.example/"),
    ("ALLOWED_ORIGINS", "https://shop.example#top"),
    ("ALLOWED_ORIGINS", "https://user@shop.example"),
    ("ALLOWED_ORIGINS", "https://shop.example,ftp://shop.example"),
    ("ALLOWED_ORIGINS", "https://"),
    ("ALLOWED_ORIGINS", "https://*.example"),
    ("ALLOWED_ORIGINS", "https://Shop.example"),
    ("ALLOWED_ORIGINS", "https://shop.example:65536"),
    ("ALLOWED_ORIGINS", "https://shop.example:443"),
    ("DEBUG", "maybe"),
    ("HTTPS_ONLY", "2"),
    ("DATABASE_URL", "nonsense"),
    ("DATABASE_URL", "mysql://db.example/shop"),
    ("DATABASE_URL", "postgres://db.example:port/shop"),
    ("DATABASE_URL", "postgres://"),
    ("DATABASE_URL", "postgres://db.example/"),
    ("DATABASE_URL", "postgres://one.example:5432,two.example:port/shop"),
    ("DATABASE_URL", "postgres://db.example:65536/shop"),
    ("DATABASE_URL", "postgres://db.example/shop?CONN_MAX_AGE=soon"),
    ("DATABASE_URL", "sqlite://shop.db"),
    ("DATABASE_URL", "sqlite:////proc/nope/x.db"),
    ("CHANNEL_PREFIX", "shop one"),
    ("CHANNEL_PREFIX", "x" * 41),
    ("CHANNEL_KEYS", "short"),
    ("CHANNEL_KEYS", f"{'k' * 32},short"),
    ("CHANNEL_LAYER", "rabbitmq"),
    ("REDIS_URL", "http://redis.example"),
    ("REDIS_URL", "redis.example:6379"),
    ("REDIS_URL", "redis://redis.example:port/0"),
    ("REDIS_URL", "redis://one.example/0,http://two.example"),
    ("REDIS_URL", "sentinel://"),
    ("REDIS_URL", "sentinel://:pass@/shop"),
    ("REDIS_URL", "sentinel://one.example:port/shop"),
    ("REDIS_URL", "sentinel://one.example/shop?db=zero"),
    ("REDIS_URL", ","),
    ("CELERY_BROKER_URL", "nonsense"),
    ("NOTIFICATION_RETENTION_DAYS", "0"),
    ("NOTIFICATION_RETENTION_DAYS", "36501"),
    ("NOTIFICATION_TAIL_SECONDS", "0.09"),
    ("NOTIFICATION_TAIL_SECONDS", "often"),
    ("STALL_SECONDS", "-1"),
    ("TIME_ZONE", "Berlin"),
    ("TIME_ZONE", "../etc/passwd"),
    ("DELAY_NOTICES", "sometimes"),
    ("ORDER_RETENTION_DAYS", "0"),
    ("EMAIL_AFTER_MINUTES", "-1"),
    ("EMAIL_AFTER_MINUTES", "10081"),
    ("EMAIL_URL", "mail.example"),
    ("EMAIL_URL", "smtps://mail.example:port"),
    ("EMAIL_URL", "smtps://"),
    ("EMAIL_TIMEOUT", "0"),
    ("DEFAULT_FROM_EMAIL", "The Shop"),
    ("SITE_URL", "https://shop.example/"),
    ("SITE_URL", "https://one.example,https://two.example"),
    ("DRAIN_SECONDS", "nan"),
    ("DRAIN_SECONDS", "86400"),
    ("MAX_SOCKETS", "1e3"),
    ("MAX_SOCKETS_PER_USER", "-1"),
    ("TICKET_CONNECTION_SECONDS", "an hour"),
    ("TICKET_CONNECTION_SECONDS", "31536001"),
    ("WEB_THREADS", "0"),
    ("API_RATE", "lots"),
    ("HINT_FAULTS", "drop=2"),
    ("LOG_LEVEL", "loud"),
    ("LOG_FORMAT", "xml"),
]


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=[f"{name}={value}" for name, value in REFUSED])
def test_a_wrong_value_is_one_line_that_names_it(name: str, value: str | None):
    done = start([sys.executable, "-c", "import config.settings"], **{name: value})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"orderwire: {name.removesuffix('_FILE')} ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "99999"),
        ("PORT", "0"),
        ("PORT", "http"),
        ("WEB_CONCURRENCY", "0"),
        ("DRAIN_SECONDS", "nan"),
        ("STALL_SECONDS", "inf"),
    ],
)
def test_gunicorn_says_a_wrong_value_in_one_line_too(name: str, value: str):
    done = start(["sh", "-c", f"exec {procfile()['web']}"], **{name: value})
    assert done.returncode == 1
    [line] = (done.stdout + done.stderr).splitlines()
    assert line.startswith(f"orderwire: {name} is not usable: ")


@pytest.mark.parametrize(
    "value",
    [
        "{}://u:hunter2@r.example:port/0",
        "{}://u:hunter2#x@r.example/0",
        "{}://u:hunter2/x@r.example/0",
        "{}://u:hunter2\u2100@r.example/0",
        "hunter2@r.example",
        "amqq://u:hunter2@r/",
    ],
)
@pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_BROKER_URL", "DATABASE_URL", "EMAIL_URL"])
def test_a_password_in_a_wrong_url_is_not_repeated(name: str, value: str):
    scheme = {"DATABASE_URL": "postgres", "EMAIL_URL": "smtp"}.get(name, "redis")
    done = start([sys.executable, "-c", "import config.settings"], **{name: value.format(scheme)})
    assert done.returncode == 1
    assert "hunter2" not in done.stderr


MAILING = {
    "EMAIL_AFTER_MINUTES": "15",
    "EMAIL_URL": "smtp+tls://shop:p%40ss@mail.example",
    "DEFAULT_FROM_EMAIL": "The Shop <orders@shop.example>",
    "SITE_URL": "https://orders.shop.example",
}


def test_e_mail_is_off_unless_it_is_set_and_then_goes_where_the_url_says():
    names = ("EMAIL_HOST", "EMAIL_PORT", "EMAIL_HOST_USER", "EMAIL_HOST_PASSWORD", "EMAIL_USE_TLS", "EMAIL_USE_SSL")
    assert "channels" not in settings_with("CELERY_BEAT_SCHEDULE")["CELERY_BEAT_SCHEDULE"]
    found = settings_with("CELERY_BEAT_SCHEDULE", *names, **MAILING)
    assert found["CELERY_BEAT_SCHEDULE"]["channels"] == {"task": "notifications.deliver", "schedule": 60.0}
    assert [found[name] for name in names] == ["mail.example", 587, "shop", "p@ss", True, False]


@pytest.mark.parametrize("name", ["EMAIL_URL", "DEFAULT_FROM_EMAIL", "SITE_URL"])
def test_e_mail_that_could_not_be_sent_stops_the_start(name: str):
    done = start([sys.executable, "-c", "import config.settings"], **{**MAILING, name: None})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"orderwire: {name} is not set")


@pytest.mark.parametrize("line", ["web", "worker", "beat", "release"])
def test_every_process_stops_at_a_wrong_value_and_says_so_once(line: str):
    holder = reserve_port()
    bind = {"GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{holder.getsockname()[1]}"}
    try:
        done = start(["sh", "-c", f"exec {procfile()[line]}"], SECRET_KEY=None, **bind)
    finally:
        holder.close()
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert output.count("orderwire: SECRET_KEY is not set") == 1
    assert "Traceback" not in output


def test_origins_are_taken_as_browsers_send_them():
    several = ["https://shop.example", "http://localhost:8000", "https://[::1]:8443", "https://xn--bcher-kva.example"]
    assert settings_with("ALLOWED_ORIGINS", ALLOWED_ORIGINS=",".join(several))["ALLOWED_ORIGINS"] == several


def test_every_secret_may_come_from_a_file(tmp_path: Path):
    values = {
        "SECRET_KEY": "$ecret with a dollar and enough characters",
        "ALLOWED_HOSTS": "one.example, two.example",
        "REDIS_URL": "redis://:pass@redis.example:6379/1",
        "DEBUG": "0",
        "WEB_THREADS": "3",
    }
    files: dict[str, str | None] = {}
    for name, value in values.items():
        (tmp_path / name).write_text(f"{value}\n")
        files |= {name: None, f"{name}_FILE": str(tmp_path / name)}
    assert settings_with("SECRET_KEY", "ALLOWED_HOSTS", "REDIS_URLS", "CELERY_BROKER_URL", "WEB_THREADS", **files) == {
        "SECRET_KEY": "$ecret with a dollar and enough characters",
        "ALLOWED_HOSTS": ["one.example", "two.example"],
        "REDIS_URLS": ["redis://:pass@redis.example:6379/1"],
        "CELERY_BROKER_URL": "redis://:pass@redis.example:6379/1",
        "WEB_THREADS": 3,
    }


def test_cookies_have_names_of_their_own_and_over_https_no_other_host_can_set_them():
    names = ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "DEVICE_COOKIE_NAME")
    kinds = ("session", "csrf", "device")
    plain = {name: f"orderwire_{kind}" for name, kind in zip(names, kinds, strict=True)}
    assert settings_with(*names, HTTPS_ONLY="0") == plain
    assert settings_with(*names) == {name: f"__Host-{value}" for name, value in plain.items()}


def test_hsts_speaks_for_this_host_alone_unless_told():
    names = ("SECURE_HSTS_SECONDS", "SECURE_HSTS_INCLUDE_SUBDOMAINS", "SECURE_HSTS_PRELOAD")
    assert list(settings_with(*names).values()) == [31_536_000, False, False]
    told = settings_with(*names, HSTS_INCLUDE_SUBDOMAINS="1", HSTS_PRELOAD="1")
    assert list(told.values()) == [31_536_000, True, True]


def test_several_redis_share_the_hints_and_a_sentinel_has_several_hosts():
    several = "redis://one.example/0, redis://two.example/0"
    assert settings_with("REDIS_URLS", REDIS_URL=several)["REDIS_URLS"] == [
        "redis://one.example/0",
        "redis://two.example/0",
    ]
    sentinel = "sentinel://:pass@one.example:26379,two.example:26379/shop"
    found = settings_with("REDIS_URLS", REDIS_URL=sentinel, CELERY_BROKER_URL="amqp://mq.example")
    assert found["REDIS_URLS"] == [sentinel]


@pytest.mark.parametrize(
    ("value", "expected"), [("600/min", (600, 60)), ("5/s", (5, 1)), ("off", None), ("1/h", (1, 3600))]
)
def test_a_rate_is_a_number_and_a_unit(value: str, expected: tuple[int, int] | None):
    assert rate(value) == expected


@pytest.mark.parametrize("value", ["many", "0/min", "5/fortnight", "-1/s", "5"])
def test_a_rate_that_is_none_is_refused(value: str):
    with pytest.raises(ValueError, match="neither off nor a rate"):
        rate(value)


def test_an_empty_value_counts_as_not_set():
    assert settings_with(
        "WEB_THREADS", "REDIS_URLS", "DRAIN_SECONDS", WEB_THREADS="", REDIS_URL="", DRAIN_SECONDS=""
    ) == {
        "WEB_THREADS": 2,
        "REDIS_URLS": [],
        "DRAIN_SECONDS": 10.0,
    }


def test_nothing_has_to_be_set_for_local_use():
    found = settings_with("ALLOWED_HOSTS", "HTTPS_ONLY", DEBUG="1", **dict.fromkeys(USABLE))
    assert found == {"ALLOWED_HOSTS": ["localhost", "127.0.0.1", "[::1]"], "HTTPS_ONLY": False}


def test_tasks_are_read_as_json_alone():
    """Whoever may write to the broker writes tasks; with pickle, programs."""
    program = "from config.celery import app; print(app.conf.accept_content, app.conf.task_serializer)"
    done = start([sys.executable, "-c", program])
    assert done.stdout.strip() == "['json'] json", done.stderr


# The documentation.


def read_by_the_code() -> set[str]:
    """Each variable that the settings and the servers' configuration read."""
    text = "".join((ROOT / f"config/{name}.py").read_text() for name in ("settings", "mail"))
    settings = re.findall(r'\bread\((?:[\w.]+|\w+\(.*?\)), "([A-Z_]+)"', text)
    gunicorn = re.findall(
        r'(?:environ\.get\(|read\(\w+, )["\']([A-Z_]+)["\']', (ROOT / "deploy/gunicorn.conf.py").read_text()
    )
    return {*settings, *gunicorn}


def test_every_setting_is_documented_and_nothing_else():
    text = (ROOT / "docs/settings.md").read_text()
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", text, flags=re.MULTILINE)) == read_by_the_code()


def documented_defaults() -> dict[str, str]:
    text = (ROOT / "docs/settings.md").read_text()
    return dict(re.findall(r"^\| `([A-Z_]+)` \| `([^`…]+)`", text, flags=re.MULTILINE))


def test_the_documented_defaults_are_the_codes():
    documented = documented_defaults()
    assert {"WEB_THREADS", "API_RATE", "DRAIN_SECONDS"} <= documented.keys()
    names = [name for name in documented if name not in ("PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS")]
    by_default = settings_with(*names)
    assert settings_with(*names, **{name: documented[name] for name in names}) == by_default


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("", "orderwire0"),
        ("redis://redis.example", "orderwire0"),
        ("redis://redis.example/1", "orderwire1"),
        ("redis://redis.example?db=2", "orderwire2"),
        ("unix:///run/redis.sock?db=3", "orderwire3"),
        ("sentinel://one.example/shop?db=4", "orderwire4"),
    ],
)
def test_deployments_in_two_databases_of_one_redis_use_other_names(url: str, prefix: str):
    found = settings_with("CHANNEL_PREFIX", "CHANNEL_LAYERS", "CACHES", REDIS_URL=url)
    assert found["CHANNEL_PREFIX"] == prefix
    if url:
        assert found["CHANNEL_LAYERS"]["default"]["CONFIG"]["prefix"] == prefix
    if url.startswith(("redis", "unix")):
        assert found["CACHES"]["default"]["KEY_PREFIX"] == prefix


def test_without_redis_hints_go_over_postgres_and_not_through_its_pooler():
    pooled = {"DATABASE_URL": "postgres://shop:secret@pooler.example:6432/shop?pool=true&sslmode=require"}
    found = settings_with("CHANNEL_LAYERS", "CELERY_TASK_ALWAYS_EAGER", CHANNEL_PREFIX="shop", **pooled)
    config = found["CHANNEL_LAYERS"]["default"]["CONFIG"]
    login = {"host": "pooler.example", "port": "6432", "user": "shop", "password": "secret", "dbname": "shop"}
    assert config["prefix"] == "shop"
    assert config["connection"].items() >= {**login, "sslmode": "require", "keepalives_idle": 10}.items()
    assert "pool" not in config["connection"]
    assert found["CELERY_TASK_ALWAYS_EAGER"]
    direct = settings_with("CHANNEL_LAYERS", HINTS_DATABASE_URL="postgres://shop@db.example/shop", **pooled)
    assert direct["CHANNEL_LAYERS"]["default"]["CONFIG"]["connection"]["host"] == "db.example"


@pytest.mark.parametrize(("name", "value"), [("HINTS_DATABASE_URL", "sqlite:///x"), ("CHANNEL_KEYS", "k" * 32)])
def test_what_postgres_cannot_do_for_hints_stops_the_start(name: str, value: str):
    postgres = "postgres://shop@db.example/shop"
    done = start([sys.executable, "-c", "import config.settings"], DATABASE_URL=postgres, **{name: value})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"orderwire: {name} is not usable")


@pytest.mark.parametrize("kind", ["redis", "pubsub", "core"])
def test_every_layer_gets_the_prefix_and_the_keys(kind: str):
    keys = ["n" * 32, "o" * 32]
    found = settings_with(
        "CHANNEL_LAYERS",
        REDIS_URL="redis://redis.example/1",
        CHANNEL_LAYER=kind,
        CHANNEL_PREFIX="shop",
        CHANNEL_KEYS=",".join(keys),
    )
    config = found["CHANNEL_LAYERS"]["default"]["CONFIG"]
    assert (config["prefix"], config["symmetric_encryption_keys"]) == ("shop", keys)


def test_nothing_that_comes_from_redis_or_a_broker_is_unpickled():
    found = settings_with("CACHES", "CELERY_ACCEPT_CONTENT", REDIS_URL="redis://redis.example/0")
    assert found["CACHES"]["default"]["OPTIONS"]["serializer"] == "config.cache.JsonSerializer"
    assert found["CELERY_ACCEPT_CONTENT"] == ["json"]
