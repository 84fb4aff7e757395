"""The channel layer's URLs, and its limits: nothing that Redis does, or does not do, is waited for without an end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from notifications.delivery.membership import Membership
from notifications.delivery.subscriber import Feed
from notifications.hints import layers, publish
from notifications.hints.layers import RedisLayer, _host
from tests.database import EMBEDDED
from tests.polling import PATIENCE, apoll
from tests.servers import Redis, Sentinel

needs_redis = pytest.mark.skipif(EMBEDDED, reason="the embedded default has no Redis")


@asynccontextmanager
async def listening(layer: RedisLayer, *groups: str) -> AsyncIterator[list[Any]]:
    """The texts that a channel in these groups hears while the context lasts."""
    channel = await layer.new_channel()
    for group in groups:
        await layer.group_add(group, channel)
    heard: list[Any] = []

    async def listen() -> None:
        while True:
            heard.append((await layer.receive(channel))["text"])

    task = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await layer.flush()


async def say(layer: RedisLayer, group: str, text: str) -> None:
    await layer.group_send(group, {"type": "test", "text": text})


@pytest.mark.parametrize("url", ["redis://r.example:6379/0", "rediss://u:p@r.example/1", "unix:///run/redis.sock?db=2"])
def test_a_url_is_redis_pys_to_read_and_the_limits_are_ours(url: str):
    assert _host(url) == {
        "address": url,
        "max_connections": layers.MAX_CONNECTIONS,
        "socket_timeout": layers.SOCKET_TIMEOUT,
        "socket_connect_timeout": layers.CONNECT_TIMEOUT,
        "protocol": layers.PROTOCOL,
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
    limits = {
        "socket_timeout": layers.SOCKET_TIMEOUT,
        "socket_connect_timeout": layers.CONNECT_TIMEOUT,
        "protocol": layers.PROTOCOL,
    }
    assert _host(url) == {"password": None, "sentinel_kwargs": layers.SENTINEL_LIMITS, **host, **limits}


@needs_redis
async def test_a_redis_that_never_answers_is_given_up():
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        server.suspend()
        with pytest.raises(Exception, match=r"(?i)timeout|timed out"):  # whichever of redis-py's it is
            await asyncio.wait_for(layer.group_send("user.1", {"type": "test"}), PATIENCE)
        server.resume()
        await layer.flush()


@needs_redis
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


@needs_redis
async def test_messages_of_any_size_arrive_in_their_order():
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        texts = [f"{number}{'x' * size}" for number in range(20) for size in (0, 10, layers.READ_BYTES * 4)]
        async with listening(layer, "user.1") as heard:
            for text in texts:
                await say(layer, "user.1", text)
            await apoll(lambda: len(heard) == len(texts), saying="messages are lost")
            assert heard == texts


async def listened_to(server: Redis) -> str:
    """The names that somebody listens for."""
    async with Client.from_url(server.url) as client:
        return str(await client.pubsub_channels())


@needs_redis
async def test_what_a_process_has_left_it_hears_no_more_until_it_joins_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layers, "RETRY_SECONDS", 0.01)
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        async with listening(layer, "user.1", "user.2") as heard:
            (channel,) = layer.channels
            await layer.group_discard("user.1", channel)
            await say(layer, "user.1", "not this")
            await layer.group_add("user.1", channel)
            await say(layer, "user.1", "this")
            await apoll(lambda: heard)
            assert heard == ["this"]

            await layer.group_discard("user.1", channel)
            server.restart()

            async def listens_again() -> bool:
                return "user.2" in await listened_to(server)

            await apoll(listens_again)
            assert "user.1" not in await listened_to(server)


@needs_redis
async def test_a_redis_that_was_restarted_is_listened_to_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layers, "RETRY_SECONDS", 0.01)
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        async with listening(layer, "user.1", "user.2") as heard:
            server.restart()

            async def both_are_heard() -> bool:
                for group in ("user.1", "user.2"):
                    await say(layer, group, group)  # what is said before it listens again is lost
                return {"user.1", "user.2"} <= set(heard)

            await apoll(both_are_heard)


@needs_redis
async def test_a_group_that_is_joined_while_redis_is_away_is_heard_when_it_is_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layers, "RETRY_SECONDS", 0.01)
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        async with listening(layer) as heard:
            (channel,) = layer.channels
            server.stop()
            await apoll(lambda: not layer._shards[0]._confirmed, saying="the end of the connection is not seen")
            joining = asyncio.create_task(layer.group_add("user.1", channel))
            server.start()
            async with asyncio.timeout(PATIENCE):
                await joining
            await say(layer, "user.1", "hello")
            await apoll(lambda: heard == ["hello"])


@needs_redis
async def test_a_redis_that_falls_silent_is_given_up_and_found_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(layers, "PING_SECONDS", 0.1)
    monkeypatch.setattr(layers, "RETRY_SECONDS", 0.01)
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        async with listening(layer, "user.1") as heard:
            server.suspend()
            await apoll(lambda: "Redis has not answered" in caplog.text)
            server.resume()

            async def is_heard() -> bool:
                await say(layer, "user.1", "hello")
                return bool(heard)

            await apoll(is_heard)


@needs_redis
async def test_what_was_given_up_leaves_nothing_behind():
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        feeds = {"1": Feed(1)}
        members = Membership(layer, feeds)
        await members.open()
        server.suspend()
        await members.join(feeds["1"])
        opening = asyncio.create_task(layer.new_channel())
        await asyncio.sleep(0)  # it begins to wait for Redis
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)

        tending = asyncio.create_task(members.tend(0.01))
        await apoll(lambda: not feeds, saying="the group is left")
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
        assert not layer._shards[0]._awaited
        assert len(layer.channels) == 1
        server.resume()
        await layer.group_add("user.2", *layer.channels)  # whatever was said before this has been heard
        assert "user.1" not in await listened_to(server)
        await layer.flush()


@needs_redis
async def test_health_checks_of_the_client_do_not_disturb_the_listening():
    with Redis() as server:
        layer = RedisLayer(urls=[f"{server.url}?health_check_interval=1"])
        async with listening(layer, "user.0") as heard:
            (channel,) = layer.channels
            connection = layer._shards[0]._connection
            connection.next_health_check = 0  # it is due
            await layer.group_add("user.1", channel)
            await say(layer, "user.1", "hello")
            await apoll(lambda: heard == ["hello"])
            assert layer._shards[0]._connection is connection


@needs_redis
async def test_a_layer_ends_also_when_redis_ends_at_that_moment():
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        await layer.new_channel()
        layer._shards[0]._connection._reader.feed_eof()
        async with asyncio.timeout(PATIENCE):
            await layer.flush()


@needs_redis
async def test_a_sentinel_that_hangs_is_passed_over_within_one_hint():
    with Redis() as server, Sentinel(server) as silent, Sentinel(server) as other:
        silent.suspend()
        layer = RedisLayer(urls=[f"sentinel://127.0.0.1:{silent.port},127.0.0.1:{other.port}/shop"])
        async with asyncio.timeout(publish.SEND_TIMEOUT):
            await say(layer, "user.1", "hello")
        await layer.flush()
        silent.resume()


@needs_redis
async def test_a_redis_that_refuses_says_so_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(layers, "RETRY_SECONDS", 0.01)
    with Redis() as server:
        async with Client.from_url(server.url) as client:
            await client.acl_setuser("default", reset_channels=True, enabled=True)
        layer = RedisLayer(urls=[server.url])
        joining = asyncio.create_task(layer.new_channel())
        await apoll(lambda: "NOPERM" in caplog.text)
        joining.cancel()
        await asyncio.gather(joining, return_exceptions=True)
        await layer.flush()
