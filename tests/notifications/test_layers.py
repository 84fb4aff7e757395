"""The channel layer's URLs, and its limits: nothing that Redis does, or does not do, is waited for without an end."""

import asyncio
from typing import Any

import pytest

from notifications import layers
from notifications.layers import RedisLayer, _host
from tests.database import EMBEDDED
from tests.polling import PATIENCE
from tests.servers import Redis


@pytest.mark.parametrize("url", ["redis://r.example:6379/0", "rediss://u:p@r.example/1", "unix:///run/redis.sock?db=2"])
def test_a_url_is_redis_pys_to_read_and_the_limits_are_ours(url: str):
    assert _host(url) == {
        "address": url,
        "max_connections": layers.MAX_CONNECTIONS,
        "socket_timeout": layers.SOCKET_TIMEOUT,
        "socket_connect_timeout": layers.CONNECT_TIMEOUT,
    }


@pytest.mark.parametrize(
    ("url", "host"),
    [
        (
            "sentinel://one.example:26380,two.example/shop",
            {"sentinels": [("one.example", 26380), ("two.example", 26379)], "master_name": "shop", "db": 0},
        ),
        (
            "sentinel://:p%40ss@one.example/shop?db=3",
            {"sentinels": [("one.example", 26379)], "master_name": "shop", "password": "p@ss", "db": 3},
        ),
        ("sentinel://one.example", {"sentinels": [("one.example", 26379)], "master_name": "mymaster", "db": 0}),
    ],
)
def test_a_sentinel_url_names_hosts_service_password_and_database(url: str, host: dict[str, Any]):
    limits = {"socket_timeout": layers.SOCKET_TIMEOUT, "socket_connect_timeout": layers.CONNECT_TIMEOUT}
    assert _host(url) == {"password": None, **host, **limits}


@pytest.mark.skipif(EMBEDDED, reason="the embedded default has no Redis")
async def test_a_redis_that_never_answers_is_given_up():
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        server.suspend()
        with pytest.raises(Exception, match=r"(?i)timeout|timed out"):  # whichever of redis-py's it is
            await asyncio.wait_for(layer.group_send("user.1", {"type": "test"}), PATIENCE)
        server.resume()
        await layer.flush()


@pytest.mark.skipif(EMBEDDED, reason="the embedded default has no Redis")
async def test_groups_are_shared_out_among_several_redis_and_arrive_from_each():
    with Redis() as one, Redis() as other:
        layer = RedisLayer(urls=[one.url, other.url])
        channel = await layer.new_channel()
        for number in range(20):
            await layer.group_add(f"user.{number}", channel)
        for number in range(20):
            await layer.group_send(f"user.{number}", {"type": "test", "number": number})
        async with asyncio.timeout(PATIENCE):
            heard = {(await layer.receive(channel))["number"] for _ in range(20)}
        assert heard == set(range(20))
        await layer.flush()
