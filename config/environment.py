"""Reading the environment: `read`, and the kinds of values that a variable may have; URLs are `config.connections`'.

Called by `settings`, and by gunicorn's configuration for what belongs to processes and sockets. A value that is not of
its kind raises ValueError, and `read` makes of it the one clear line with which the start stops. No line repeats a
value that may hold a password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Value = TypeVar("Value")
Default = TypeVar("Default")

#: No waiting that this service does is longer than an hour.
MAX_SECONDS = 3600
MAX_PORT = 65535
#: An origin as browsers send it (WHATWG URL, 4.7): in lower case, in ASCII, and without a slash at its end.
ORIGIN = re.compile(r"(https?)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?")


def stop(message: str) -> SystemExit:
    return SystemExit(f"orderwire: {message}")


def read(kind: Callable[[str], Value], name: str, default: Default) -> Value | Default:
    """A variable of one kind, or its default; an empty one counts as not set, as in compose files."""
    if not os.environ.get(name) and not os.environ.get(f"{name}_FILE"):
        return default
    try:
        return kind(_value(name))
    except (ValueError, OSError) as error:
        raise stop(f"{name} is not usable: {error}") from None


def _value(name: str) -> str:
    """What the environment says, or the file that NAME_FILE names: the newline at its end is no part of the value."""
    file = os.environ.get(f"{name}_FILE")
    return (Path(file).read_text(encoding="utf-8") if file else os.environ[name]).strip()


def text(value: str) -> str:
    """The value as it is."""
    return value


def words(value: str) -> list[str]:
    """A comma-separated list; spaces around its words are no part of them."""
    return [word for word in map(str.strip, value.split(",")) if word]


def positive(value: str, *, at_most: int | None = None) -> int:
    number = int(value)
    if number < 1:
        raise ValueError("a number above 0 is needed")
    if at_most is not None and number > at_most:
        raise ValueError(f"a number of at most {at_most} is needed")
    return number


def port(value: str) -> int:
    number = int(value)
    if not 1 <= number <= MAX_PORT:
        raise ValueError(f"a port from 1 to {MAX_PORT} is needed")
    return number


def seconds(value: str, *, at_least: float = 0) -> float:
    number = float(value)
    if not at_least <= number <= MAX_SECONDS:
        raise ValueError(f"seconds from {at_least} to {MAX_SECONDS} are needed")
    return number


def faults(value: str) -> dict[str, Any]:
    """What `notifications.hints.faults.FaultyLayer` takes: `drop=0.1,double=0.1,seed=7`."""
    found: dict[str, Any] = {}
    for word in words(value):
        key, _, rest = word.partition("=")
        if key in ("drop", "double", "reorder", "delay"):
            found[key] = float(rest)
            if not 0 <= found[key] <= 1:
                raise ValueError(f"{word!r} is not a rate from 0 to 1")
        elif key == "delay_seconds":
            found[key] = float(rest)
        elif key == "seed":
            found[key] = int(rest)
        elif key == "lose":
            found[key] = rest
        else:
            raise ValueError(f"{key!r} is not drop, double, reorder, delay, delay_seconds, lose or seed")
    return found


def one_of(*known: str) -> Callable[[str], str]:
    """A kind whose values are these words, in whichever case they are written."""

    def word(value: str) -> str:
        if value.lower() not in known:
            raise ValueError(f"it is one of {', '.join(known)}")
        return value.lower()

    return word


def time_zone(value: str) -> str:
    """A name of the time zone database (IANA), `Europe/Berlin`."""
    try:
        return ZoneInfo(value).key
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError(f"{value!r} is no time zone such as Europe/Berlin") from None


def flag(value: str) -> bool:
    word = value.lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"{word!r} is neither 1 nor 0")


def rate(value: str) -> tuple[int, int] | None:
    """`600/min`: requests, and the seconds of s, min, h or day; `off` is None."""
    word = value.lower()
    if word == "off":
        return None
    number, _, unit = word.partition("/")
    units = {"s": 1, "min": 60, "h": 3600, "day": 86400}
    if not (number.isascii() and number.isdigit() and int(number) > 0 and unit in units):
        raise ValueError(f"{word!r} is neither off nor a rate such as 600/min")
    return int(number), units[unit]


def origins(value: str, *, any_origin: bool = False) -> list[str]:
    """Exact origins, `https://shop.example`, comma-separated; `*` only where `any_origin` may come."""
    found = words(value)
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
