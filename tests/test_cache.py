"""What the cache keeps in Redis, and what it takes from there."""

import pickle

import pytest
from django.core.cache.backends.redis import RedisCache
from redis import Redis as Client

from config.cache import JsonSerializer
from tests.database import EMBEDDED
from tests.servers import Redis

pytestmark = pytest.mark.skipif(EMBEDDED, reason="the embedded default has no Redis")


class Harm:
    """What a pickle can do: call anything."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("the pickle was loaded",)


def test_the_cache_counts_keeps_json_and_loads_no_pickle():
    with Redis() as server:
        cache = RedisCache(server.url, {"KEY_PREFIX": "shop", "OPTIONS": {"serializer": JsonSerializer}})
        cache.set("counter", 1)
        assert cache.incr("counter") == cache.get("counter") == 2
        cache.set("words", ["one", "two"])
        assert cache.get("words") == ["one", "two"]
        with Client.from_url(server.url) as client:
            client.set(cache.make_and_validate_key("counter"), pickle.dumps(Harm()))
        with pytest.raises(UnicodeDecodeError):
            cache.get("counter")
        cache.close()
