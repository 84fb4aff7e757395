"""How the cache's values stand in Redis: as JSON. Named in `settings.CACHES`, for Django's RedisCache.

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
