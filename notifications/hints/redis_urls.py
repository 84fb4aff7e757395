"""What a URL of Redis says: `sentinel://`, which redis-py does not read.

The settings check it and hand it to Celery, the channel layer connects by it; the other schemes (`redis://`,
`rediss://`, `unix://`) are redis-py's own. Knows neither the settings nor Django.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio.connection import parse_url

#: Where Sentinels listen (redis.io/docs, Sentinel), and what its examples call the service.
PORT = 26379
SERVICE = "mymaster"


@dataclass(frozen=True, slots=True)
class Sentinel:
    """Hosts that know where the master of the service `name` is; user, password and database are the master's."""

    hosts: tuple[tuple[str, int], ...]
    name: str
    user: str | None
    password: str | None
    database: int


def sentinel(url: str) -> Sentinel | None:
    """`sentinel://user:password@host:port,host:port/service?db=0`, of which only a host has to be there.

    None for another scheme. Raises ValueError, without the URL in its text, since that may hold a password.
    """
    parts = urlsplit(url)
    if parts.scheme != "sentinel":
        return None
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    database = dict(parse_qsl(parts.query)).get("db", "0")
    if not (database.isascii() and database.isdigit()):
        raise ValueError("db is the number of a database")
    return Sentinel(
        hosts=tuple(_address(host) for host in hosts.split(",")),
        name=parts.path.strip("/") or SERVICE,
        user=unquote(user) or None,
        password=unquote(password) or None,
        database=int(database),
    )


def host(url: str) -> dict[str, Any]:
    """The URL as an entry of channels-redis' `hosts`: an `address`, or the `sentinels` and the `master_name`."""
    service = sentinel(url)
    if service is None:
        return {"address": url}
    return {
        "sentinels": list(service.hosts),
        "master_name": service.name,
        **({"username": service.user} if service.user else {}),
        "password": service.password,
        "db": service.database,
    }


def database_number(url: str) -> int:
    """Which of a server's databases the URL names; 0 if none."""
    service = sentinel(url)
    return service.database if service is not None else int(parse_url(url).get("db", 0))


def _address(host: str) -> tuple[str, int]:
    parts = urlsplit(f"//{host}")
    if not parts.hostname:
        raise ValueError("the hosts of the Sentinel are needed, as in sentinel://host:port,host:port/service")
    return parts.hostname, parts.port or PORT
