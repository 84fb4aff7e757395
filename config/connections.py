"""The URLs of what Orderwire connects to, as Django, Celery and the channel layer take them.

Called by `settings`. Each function raises ValueError for a URL that cannot be one, and says what is wrong without
repeating it: it may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from kombu.transport import TRANSPORT_ALIASES

from config.environment import MAX_PORT
from notifications.hints.redis_urls import host, sentinel

POSTGRESQL = "django.db.backends.postgresql"
SQLITE = "django.db.backends.sqlite3"
ENGINES = {"postgres": POSTGRESQL, "postgresql": POSTGRESQL, "sqlite": SQLITE}

#: What holds unless DATABASE_URL says otherwise. HTTP runs on a fixed number of threads, so each may keep its
#: connection; after a restart of PostgreSQL the health check opens it anew instead of failing one request a thread;
#: `config.server.database` says when that is asked.
KEPT: dict[str, dict[str, Any]] = {
    POSTGRESQL: {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True},
    SQLITE: {"CONN_MAX_AGE": 600},
}
OPTIONS: dict[str, dict[str, Any]] = {
    POSTGRESQL: {
        "connect_timeout": 5,
        # A host that is gone without a word is noticed in some 25 s; the kernel's defaults take hours (seconds, and
        # milliseconds for the last: postgresql.org/docs, libpq-connect).
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,
    },
    SQLITE: {
        # A write transaction takes its lock at the start: one that read first could not wait for it, only fail.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # Readers do not wait for the writer. NORMAL is safe against corruption in WAL mode (sqlite.org/wal.html).
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    },
}
#: Options of the URL that are Django's own (docs.djangoproject.com, DATABASES); every other is the driver's.
OF_DJANGO = ("CONN_MAX_AGE", "CONN_HEALTH_CHECKS", "DISABLE_SERVER_SIDE_CURSORS")
#: A host of a URL: an IPv6 address in brackets, or anything else without a colon; and its port.
ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]*))(?::([0-9]{1,5}))?")


def database(url: str) -> dict[str, Any]:
    """An entry of Django's DATABASES: `postgres://user:password@host:port/name?option=value`, or `sqlite:///path`.

    PostgreSQL's host may be several, comma-separated, or a socket's folder: percent-encoded, or before the name as in
    `postgres:////run/postgresql/name`. The name may be missing if `service` is among the options.
    """
    parts = _split(url, ENGINES)
    if parts.fragment:
        raise ValueError("a # in a URL is written %23")
    engine = ENGINES[parts.scheme]
    options = {name: _value(value) for name, value in parse_qsl(parts.query)}
    own = {name.upper(): options.pop(name) for name in list(options) if name.upper() in OF_DJANGO}
    if not isinstance(own.get("CONN_MAX_AGE", 0), int):
        raise ValueError("CONN_MAX_AGE is a number of seconds")  # noqa: TRY004 -- the value is wrong, for its user
    login, _, netloc = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    name = unquote(parts.path[1:])
    host = port = ""
    if engine == SQLITE:
        if netloc not in ("", ":memory:"):
            raise ValueError("a file is named after three slashes, as in sqlite:///name or sqlite:////folder/name")
        name = name or ":memory:"
    elif name.startswith("/"):
        host, _, name = name.rpartition("/")
    else:
        host, port = _hosts(netloc)
    if not name and "service" not in options:
        raise ValueError("the database's name is needed, as in postgres://user@host/name")
    return {
        "ENGINE": engine,
        "NAME": name,
        "USER": unquote(user),
        "PASSWORD": unquote(password),
        "HOST": host,
        "PORT": port,
        **KEPT[engine],
        **own,
        "OPTIONS": OPTIONS[engine] | options,
    }


def _hosts(netloc: str) -> tuple[str, str]:
    """Hosts and ports as libpq takes them: one of each for every host, or no port at all."""
    found = [match for host in netloc.split(",") if (match := ADDRESS.fullmatch(host))]
    hosts, ports = [unquote(match[1] or match[2]) for match in found], [match[3] for match in found]
    if len(found) <= netloc.count(",") or any(int(port or 0) > MAX_PORT for port in ports):
        raise ValueError("a host or its port is none")
    return ",".join(hosts), ",".join(port or "5432" for port in ports) if any(ports) else ""


def _value(text: str) -> str | int | bool:
    """Numbers and truth values as drivers and Django take them; a number with leading zeros is a name."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return int(text) if re.fullmatch("0|[1-9][0-9]{0,17}", text) else text


#: Options of DATABASES that are Django's and no parameters of libpq (docs.djangoproject.com, PostgreSQL notes).
NOT_OF_LIBPQ = ("assume_role", "isolation_level", "pool", "server_side_binding", "cursor_factory")
#: How an entry of DATABASES and libpq call the same thing.
LIBPQ_NAMES = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}


def libpq_parameters(described: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry of Django's DATABASES for PostgreSQL says, for libpq."""
    named = {libpq: described[name] for name, libpq in LIBPQ_NAMES.items() if described[name]}
    return named | {name: value for name, value in described["OPTIONS"].items() if name not in NOT_OF_LIBPQ}


def direct_database(url: str) -> dict[str, Any]:
    """As `database`, of PostgreSQL alone."""
    _split(url, [scheme for scheme, engine in ENGINES.items() if engine == POSTGRESQL])
    return database(url)


def redis_urls(text: str) -> list[str]:
    """URLs, comma-separated; a word without a scheme is one more host of the Sentinel before it."""
    found: list[str] = []
    for word in filter(None, map(str.strip, text.split(","))):
        if found and "://" not in word:
            found[-1] += f",{word}"
        else:
            found.append(word)
    if not found:
        raise ValueError("a URL is needed")
    for url in found:
        parts = _split(url, ("redis", "rediss", "unix", "sentinel"))
        if parts.fragment:
            raise ValueError("a # in a URL is written %23")
        if sentinel(url) is None:
            _check_port(parts)
    return found


#: The least of a key for hints: fewer characters could be guessed by trying.
MIN_KEY = 32
#: Seconds for one answer of Redis to channels-redis' own layers. The core layer's reader waits for 5 s at a time.
CHANNELS_REDIS_TIMEOUT = 15
#: Redis reads names of channels as they are, Channels allows these characters, and Celery's key has to be another.
PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def channel_prefix(text: str) -> str:
    if not PREFIX.fullmatch(text):
        raise ValueError("1 to 40 letters, digits, and _ . - are needed")
    return text


def channel_keys(text: str) -> list[str]:
    """Keys, comma-separated: the first encrypts, each decrypts."""
    found = [word for word in map(str.strip, text.split(",")) if word]
    if not all(len(key) >= MIN_KEY for key in found):
        raise ValueError(f"a key has {MIN_KEY} characters or more")
    return found


def channel_layer(kind: str, urls: Sequence[str], *, prefix: str, keys: Sequence[str]) -> dict[str, Any]:
    """The entry of CHANNEL_LAYERS for the setting CHANNEL_LAYER: our layer, or one of channels-redis' own."""
    shared: dict[str, Any] = {"prefix": prefix, "symmetric_encryption_keys": list(keys)}
    if kind == "redis":
        return {"BACKEND": "notifications.hints.layers.RedisLayer", "CONFIG": {"urls": list(urls), **shared}}
    limits = {"socket_timeout": CHANNELS_REDIS_TIMEOUT, "socket_connect_timeout": 2, "max_connections": 1_000}
    # The format is that of notifications.hints.serializer, with which a forged message ends nothing.
    hosts = [{**host(url), **limits} for url in urls]
    shared |= {"hosts": hosts, "serializer_format": "hints"}
    if kind == "pubsub":
        return {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": shared}
    # One channel serves a whole process, so its capacity is that of all users' hints.
    return {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {**shared, "capacity": 10_000}}


def postgres_layer(described: Mapping[str, Any], *, prefix: str) -> dict[str, Any]:
    """The entry of CHANNEL_LAYERS for PostgreSQL alone; `described` is an entry of DATABASES."""
    return {
        "BACKEND": "notifications.hints.postgres.PostgresLayer",
        "CONFIG": {"connection": libpq_parameters(described), "prefix": prefix},
    }


class Broker(NamedTuple):
    """What Celery connects to, and options of its transport."""

    url: str
    options: dict[str, Any]


def broker_url(text: str) -> str:
    """A URL of kombu's, or several with a semicolon between them."""
    parts = _split(text, TRANSPORT_ALIASES)
    if ";" not in text:
        _check_port(parts)
    return text


def celery_broker(url: str) -> Broker:
    """A Redis of `redis_urls` as Celery takes it.

    Of a Sentinel kombu wants each host as a URL of its own, and the service's name as an option.
    """
    service = sentinel(url)
    if service is None:
        return Broker(url, {})
    login = f"{quote(service.user or '', safe='')}:{quote(service.password or '', safe='')}@"
    each = [f"{f'[{host}]' if ':' in host else host}:{port}" for host, port in service.hosts]
    return Broker(
        ";".join(f"sentinel://{login if login != ':@' else ''}{host}/{service.database}" for host in each),
        {"master_name": service.name},
    )


def _split(url: str, schemes: Collection[str]) -> SplitResult:
    """The parts of a URL of one of these schemes."""
    try:
        parts = urlsplit(url)
    except ValueError:  # which may repeat the login
        raise ValueError("this is no URL") from None
    if parts.scheme not in schemes:
        raise ValueError(f"a URL begins with {', '.join(schemes)}")
    return parts


def _check_port(parts: SplitResult) -> None:
    """Raise ValueError for a port that is none. Python's own text repeats it, and it may be half of a password."""
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f"the port is no number up to {MAX_PORT}") from None
