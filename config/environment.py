"""Reading the environment: `read`, and the kinds of values that a variable may have.

Called by `settings`, and by gunicorn's configuration for what belongs to processes and sockets. A value that is not of
its kind raises ValueError, and `read` makes of it the one clear line with which the start stops. No line repeats a
value that may hold a password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import environ
from environ.fileaware_mapping import FileAwareMapping
from kombu.transport import TRANSPORT_ALIASES


class Environment(FileAwareMapping):
    """The environment, and the files that NAME_FILE names: the newline at a file's end is no part of the value."""

    def __getitem__(self, name: str) -> str:
        return str(super().__getitem__(name)).strip()


class Env(environ.Env):
    ENVIRON = Environment()


env = Env()

#: No waiting that this service does is longer than an hour.
MAX_SECONDS = 3600
MAX_PORT = 65535
#: An origin as browsers send it (WHATWG URL, 4.7): in lower case, in ASCII, and without a slash at its end.
ORIGIN = re.compile(r"(https?)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?")


def stop(message: str) -> SystemExit:
    return SystemExit(f"orderwire: {message}")


def read(kind: Any, name: str, default: Any) -> Any:
    """A variable of one kind, or its default; an empty one counts as not set, as in compose files."""
    if not os.environ.get(name) and not os.environ.get(f"{name}_FILE"):
        return default
    try:
        return kind(name)
    except (ValueError, OSError, environ.ImproperlyConfigured) as error:
        raise stop(f"{name} is not usable: {error}") from None


def text(name: str) -> str:
    """The value as it is. django-environ's own `str` takes one that begins with $ for another variable's name."""
    return env.ENVIRON[name]


def words(name: str) -> list[str]:
    """A comma-separated list; spaces around its words are no part of them."""
    return [word.strip() for word in text(name).split(",") if word.strip()]


def positive(name: str, *, at_most: int | None = None) -> int:
    number: int = env.int(name)
    if number < 1:
        raise ValueError("a number above 0 is needed")
    if at_most is not None and number > at_most:
        raise ValueError(f"a number of at most {at_most} is needed")
    return number


def port(name: str) -> int:
    number: int = env.int(name)
    if not 1 <= number <= MAX_PORT:
        raise ValueError(f"a port from 1 to {MAX_PORT} is needed")
    return number


def seconds(name: str, *, at_least: float = 0) -> float:
    number = float(text(name))
    if not at_least <= number <= MAX_SECONDS:
        raise ValueError(f"seconds from {at_least} to {MAX_SECONDS} are needed")
    return number


def faults(name: str) -> dict[str, Any]:
    """What `notifications.hints.faults.FaultyLayer` takes: `drop=0.1,double=0.1,seed=7`."""
    found: dict[str, Any] = {}
    for word in words(name):
        key, _, value = word.partition("=")
        if key in ("drop", "double", "reorder", "delay"):
            found[key] = float(value)
            if not 0 <= found[key] <= 1:
                raise ValueError(f"{word!r} is not a rate from 0 to 1")
        elif key == "delay_seconds":
            found[key] = float(value)
        elif key == "seed":
            found[key] = int(value)
        elif key == "lose":
            found[key] = value
        else:
            raise ValueError(f"{key!r} is not drop, double, reorder, delay, delay_seconds, lose or seed")
    return found


def flag(name: str) -> bool:
    word = text(name).lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"{word!r} is neither 1 nor 0")


def rate(name: str) -> tuple[int, int] | None:
    """`600/min`: requests, and the seconds of s, min, h or day; `off` is None."""
    word = text(name).lower()
    if word == "off":
        return None
    number, _, unit = word.partition("/")
    units = {"s": 1, "min": 60, "h": 3600, "day": 86400}
    if not (number.isascii() and number.isdigit() and int(number) > 0 and unit in units):
        raise ValueError(f"{word!r} is neither off nor a rate such as 600/min")
    return int(number), units[unit]


def origins(name: str, *, any_origin: bool = False) -> list[str]:
    """Exact origins, `https://shop.example`, comma-separated; `*` only where `any_origin` may come."""
    found: list[str] = words(name)
    for origin in found:
        if origin == "*":
            if not any_origin:
                raise ValueError("* is allowed with DEBUG=1 only; name the origins")
            continue
        match = ORIGIN.fullmatch(origin)
        if match is None or int(match[2] or 0) > MAX_PORT:
            raise ValueError(f"{origin!r} is not an origin such as https://shop.example")
        if match[2] == {"http": "80", "https": "443"}[match[1]]:
            raise ValueError(f"browsers send {origin!r} without its port")
    return found


def redis_urls(name: str) -> list[str]:
    """URLs, comma-separated; a word without a scheme is one more host of the Sentinel before it."""
    found: list[str] = []
    for word in words(name):
        if found and "://" not in word:
            found[-1] += f",{word}"
        else:
            found.append(word)
    if not found:
        raise ValueError("a URL is needed")
    for url in found:
        check_url(url, ("redis", "rediss", "unix", "sentinel"))
    return found


def database_url(name: str) -> str:
    url = text(name)
    check_url(url, ("postgres", "postgresql", "sqlite"))
    found = environ.Env.db_url_config(url)
    if not found["NAME"] and "service" not in found.get("OPTIONS", {}):
        raise ValueError("the database's name is needed, as in postgres://user@host/name")
    return url


def broker_url(name: str) -> str:
    check_url(text(name), TRANSPORT_ALIASES)
    return text(name)


def celery_broker(url: str) -> tuple[str, dict[str, Any]]:
    """A Redis of `redis_urls` as Celery takes it: the URL, and options of its transport.

    Of a Sentinel kombu wants each host as a URL of its own, and the service's name as an option.
    """
    parts = urlsplit(url)
    if parts.scheme != "sentinel":
        return url, {}
    login, at, hosts = parts.netloc.rpartition("@")
    each = [host if ":" in host else f"{host}:26379" for host in hosts.split(",")]
    database = dict(parse_qsl(parts.query)).get("db", "0")
    return (
        ";".join(f"sentinel://{login}{at}{host}/{database}" for host in each),
        {"master_name": parts.path.strip("/") or "mymaster"},
    )


def check_url(url: str, schemes: Collection[str]) -> None:
    """Raise ValueError for a URL that cannot be one. What is wrong is said without it: it may hold a password."""
    scheme = urlsplit(url).scheme
    if scheme not in schemes:
        raise ValueError(f"a URL begins with {', '.join(known for known in schemes if '+' not in known)}")
    if scheme == "sentinel":
        hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
        if not all(urlsplit(f"//{host}").hostname for host in hosts):
            raise ValueError("the hosts of the Sentinel are needed, as in sentinel://host:port,host:port/service")
    elif ";" not in url:
        _ = urlsplit(url).port  # raises what it finds wrong
