"""The cache: where it is, and how its values stand in Redis: as JSON.

Django's own serializer pickles what is no integer, and whoever can write to Redis could then run code in every web
process.
"""

from __future__ import annotations

import json
from typing import Any


class JsonSerializer:
    """What `OPTIONS["serializer"]` needs; Redis itself adds to integers, which JSON leaves as they are."""

    def dumps(self, value: Any) -> int | str:
        """Raises TypeError for what JSON cannot say."""
        return value if type(value) is int else json.dumps(value)

    def loads(self, data: bytes) -> Any:
        """Raises ValueError for what is no JSON."""
        return json.loads(data)


#: Without Redis, or with a Sentinel, which Django's backend does not know: each process has its own.
IN_PROCESS: dict[str, Any] = {
    "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
    "OPTIONS": {"MAX_ENTRIES": 10_000},
}


def redis(url: str, prefix: str) -> dict[str, Any]:
    """An entry of `CACHES` for one Redis; `prefix` begins every key."""
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": url,
        "KEY_PREFIX": prefix,
        # A counter is worth no more than a fraction of what a request takes.
        "OPTIONS": {
            "serializer": "config.cache.JsonSerializer",
            "socket_connect_timeout": 0.2,
            "socket_timeout": 0.2,
        },
    }
