"""The channel layer's URLs, and its limits: nothing that Redis does, or does not do, is waited for without an end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.asyncio import Redis as Client

from notifications.delivery.membership import Membership
from notifications.delivery.subscriber import Feed
from notifications.hints import layers, listener, publish, sender
from notifications.hints.layers import RedisLayer, _host
from tests.database import EMBEDDED
from tests.polling import PATIENCE, apoll
from tests.servers import Redis, Sentinel

needs_redis = pytest.mark.skipif(EMBEDDED, reason="the embedded default has no Redis")


@dataclass
class Ear:
    """A channel, and the texts that it has heard."""

    channel: str
    heard: list[str] = field(default_factory=list)


@asynccontextmanager
async def listening(layer: Any, *groups: str) -> AsyncIterator[Ear]:
    """A channel in these groups, which hears while the context lasts."""
    ear = Ear(await layer.new_channel())
    for group in groups:
        await layer.group_add(group, ear.channel)

    async def listen() -> None:
        while True:
            ear.heard.append((await layer.receive(ear.channel)).get("text", "refused"))

    task = asyncio.create_task(listen())
    try:
        yield ear
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await layer.flush()


async def say(layer: Any, group: str, text: str) -> None:
    await layer.group_send(group, {"type": "test", "text": text})


@pytest.mark.parametrize("url", ["redis://r.example:6379/0", "rediss://u:p@r.example/1", "unix:///run/redis.sock?db=2"])
def test_a_url_is_redis_pys_to_read_and_the_limits_are_ours(url: str):
    assert _host(url) == {
        "address": url,
        "socket_timeout": layers.SOCKET_TIMEOUT,
        "socket_connect_timeout": layers.CONNECT_TIMEOUT,
        "socket_read_size": layers.READ_BYTES,
        "max_connections": layers.MAX_CONNECTIONS,
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
        "socket_read_size": layers.READ_BYTES,
        "max_connections": layers.MAX_CONNECTIONS,
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
        async with listening(layer, "user.1") as ear:
            for text in texts:
                await say(layer, "user.1", text)
            await apoll(lambda: len(ear.heard) == len(texts), saying="messages are lost")
            assert ear.heard == texts


async def listened_to(server: Redis) -> str:
    """The names that somebody listens for."""
    async with Client.from_url(server.url) as client:
        return str(await client.pubsub_channels())


@needs_redis
async def test_what_a_process_has_left_it_hears_no_more_until_it_joins_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listener, "RETRY_SECONDS", 0.01)
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        async with listening(layer, "user.1", "user.2") as ear:
            await layer.group_discard("user.1", ear.channel)
            await say(layer, "user.1", "not this")
            await layer.group_add("user.1", ear.channel)
            await say(layer, "user.1", "this")
            await apoll(lambda: ear.heard)
            assert ear.heard == ["this"]

            await layer.group_discard("user.1", ear.channel)
            server.restart()

            async def listens_again() -> bool:
                return "user.2" in await listened_to(server)

            await apoll(listens_again)
            assert "user.1" not in await listened_to(server)


@needs_redis
async def test_a_redis_that_was_restarted_is_listened_to_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listener, "RETRY_SECONDS", 0.01)
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        async with listening(layer, "user.1", "user.2") as ear:
            server.restart()

            async def both_are_heard() -> bool:
                for group in ("user.1", "user.2"):
                    await say(layer, group, group)  # what is said before it listens again is lost
                return {"user.1", "user.2"} <= set(ear.heard)

            await apoll(both_are_heard)


@needs_redis
async def test_a_group_that_is_joined_while_redis_is_away_is_heard_when_it_is_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listener, "RETRY_SECONDS", 0.01)
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        async with listening(layer) as ear:
            server.stop()
            await apoll(lambda: not layer._here().listeners[0]._confirmed, saying="its end is not seen")
            joining = asyncio.create_task(layer.group_add("user.1", ear.channel))
            server.start()
            async with asyncio.timeout(PATIENCE):
                await joining
            await say(layer, "user.1", "hello")
            await apoll(lambda: ear.heard == ["hello"])


@needs_redis
async def test_a_redis_that_falls_silent_is_given_up_and_found_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(listener, "PING_SECONDS", 0.1)
    monkeypatch.setattr(listener, "RETRY_SECONDS", 0.01)
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        async with listening(layer, "user.1") as ear:
            server.suspend()
            await apoll(lambda: "Redis has not answered" in caplog.text)
            server.resume()

            async def is_heard() -> bool:
                await say(layer, "user.1", "hello")
                return bool(ear.heard)

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
        here = layer._here()
        assert not here.listeners[0]._awaited
        assert len(here.queues) == 1
        server.resume()
        await layer.group_add("user.2", *here.queues)  # whatever was said before this has been heard
        assert "user.1" not in await listened_to(server)
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
    monkeypatch.setattr(listener, "RETRY_SECONDS", 0.01)
    with Redis() as server:
        async with Client.from_url(server.url) as client:
            await client.acl_setuser("default", reset_channels=True, enabled=True)
        layer = RedisLayer(urls=[server.url])
        joining = asyncio.create_task(layer.new_channel())
        await apoll(lambda: "NoPermission" in caplog.text)
        joining.cancel()
        await asyncio.gather(joining, return_exceptions=True)
        await layer.flush()


@needs_redis
async def test_channels_redis_own_layer_is_heard_and_hears():
    """With another way to name groups, or to share them out, or to write messages, one side hears nothing."""
    with Redis() as one, Redis() as other:
        urls = [one.url, other.url]
        ours, theirs = RedisLayer(urls=urls, prefix="shop"), RedisPubSubChannelLayer(hosts=urls, prefix="shop")
        groups = [f"user.{number}" for number in range(20)]
        async with listening(ours, *groups) as here, listening(theirs, *groups) as there:
            for group in groups:
                await say(ours, group, f"ours to {group}")
                await say(theirs, group, f"theirs to {group}")
            said = {f"{whose} to {group}" for group in groups for whose in ("ours", "theirs")}
            await apoll(lambda: set(here.heard) == said, saying="our layer lacks some")
            await apoll(lambda: set(there.heard) == said, saying="channels-redis' layer lacks some")


@needs_redis
async def test_deployments_with_different_prefixes_on_one_redis_do_not_hear_each_other():
    with Redis() as server:
        shop, staging = (RedisLayer(urls=[server.url], prefix=prefix) for prefix in ("shop0", "shop1"))
        async with listening(shop, "user.1") as ear:
            await say(staging, "user.1", "staging's")
            await say(shop, "user.1", "the shop's")
            await apoll(lambda: ear.heard)
            assert ear.heard == ["the shop's"]
        await staging.flush()


@needs_redis
async def test_one_redis_that_hangs_costs_the_groups_of_the_other_nothing():
    with Redis() as healthy, Redis() as hanging:
        layer = RedisLayer(urls=[healthy.url, hanging.url])
        groups = [f"user.{number}" for number in range(250)]
        async with listening(layer, *groups) as ear:
            hanging.suspend()
            results = await asyncio.gather(*(say(layer, group, group) for group in groups), return_exceptions=True)
            lost = [group for group, result in zip(groups, results, strict=True) if result is not None]
            assert all(isinstance(result, publish.Resting) for result in results if result is not None)
            assert 0 < len(lost) < len(groups)
            await apoll(lambda: len(ear.heard) == len(groups) - len(lost), saying="hints to the healthy one are lost")
            # From now on what is for the other is refused without being tried.
            for group in lost:
                with pytest.raises(publish.Resting, match="rests"):
                    await say(layer, group, group)
            hanging.resume()


@needs_redis
async def test_a_redis_that_rested_is_used_again_once_it_answers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sender, "REST_SECONDS", 0.01)
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        server.suspend()
        with pytest.raises(publish.Resting):
            await say(layer, "user.1", "lost")
        server.resume()

        async def is_taken() -> bool:
            try:
                await say(layer, "user.1", "hello")
            except publish.Resting:
                return False
            return True

        await apoll(is_taken)
        await layer.flush()


@needs_redis
async def test_a_restart_of_redis_between_two_messages_loses_none_of_them():
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        await say(layer, "user.1", "before")
        server.restart()
        await say(layer, "user.1", "after")  # would raise if it were written to the connection that has ended
        await layer.flush()


@needs_redis
async def test_what_is_sent_at_once_arrives_in_the_order_of_the_calls():
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        texts = [str(number) for number in range(3 * sender.AT_ONCE)]
        async with listening(layer, "user.1") as ear:
            await asyncio.gather(*(say(layer, "user.1", text) for text in texts))
            await apoll(lambda: len(ear.heard) == len(texts))
            assert ear.heard == texts


@needs_redis
async def test_messages_are_encrypted_and_what_no_key_fits_is_dropped(caplog: pytest.LogCaptureFixture):
    with Redis() as server:
        layer = RedisLayer(urls=[server.url], symmetric_encryption_keys=["new", "old"])
        async with listening(layer, "user.1") as ear, Client.from_url(server.url) as client, client.pubsub() as wire:
            await wire.subscribe("asgi__group__user.1")
            for keys in (["forged"], None, ["old", "older"]):
                other = RedisLayer(urls=[server.url], symmetric_encryption_keys=keys)
                await say(other, "user.1", f"with {keys}")
                await other.flush()
            await client.publish("asgi__group__user.1", b"\x00")
            await say(layer, "user.1", "a secret")
            await apoll(lambda: len(ear.heard) == 5)
            assert ear.heard == ["refused", "refused", "with ['old', 'older']", "refused", "a secret"]
            assert caplog.text.count("is not one of ours") == 3
            sent = [message["data"] async for message in _all(wire)]
            assert len(sent) == 5
            assert b"secret" not in sent[-1]


async def _all(wire: Any) -> AsyncIterator[dict[str, Any]]:
    while (message := await wire.get_message(ignore_subscribe_messages=False, timeout=1)) is not None:
        if message["type"] == "message":
            yield message


@needs_redis
async def test_what_is_no_message_is_dropped_without_keys_too(caplog: pytest.LogCaptureFixture):
    with Redis() as server:
        layer = RedisLayer(urls=[server.url])
        async with listening(layer, "user.1") as ear, Client.from_url(server.url) as client:
            for nonsense in (b"", b"x", b"\xc1", b"\x81\xa1x\x01", b"\x81\xa4type\x01"):
                await client.publish("asgi__group__user.1", nonsense)
            await say(layer, "user.1", "hello")
            await apoll(lambda: "hello" in ear.heard)
            assert ear.heard == ["refused"] * 5 + ["hello"]
