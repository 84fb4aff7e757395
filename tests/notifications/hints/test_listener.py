"""The listener keeps to the public parts of redis-py, and bears what may happen to its connection."""

import asyncio
import inspect
from functools import partial

import pytest
from redis.asyncio import Redis as Client
from redis.asyncio.connection import Connection, ConnectionPool
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

from notifications.hints.layers import _host, _pool
from notifications.hints.listener import Listener
from tests.database import EMBEDDED
from tests.polling import PATIENCE, apoll
from tests.servers import Redis

needs_redis = pytest.mark.skipif(EMBEDDED, reason="the embedded default has no Redis")


@pytest.mark.parametrize(
    ("part", "parameters"),
    [
        (Connection.read_response, ["timeout", "disconnect_on_error"]),
        (Connection.send_packed_command, ["command", "check_health"]),
        (Connection.pack_commands, ["commands"]),
        (Connection.disconnect, ["nowait"]),
        (ConnectionPool.get_connection, []),
        (ConnectionPool.release, ["connection"]),
    ],
    ids=lambda part: getattr(part, "__qualname__", None),
)
def test_redis_py_has_what_is_used_of_it(part: object, parameters: list[str]):
    """Read in redis-py 8.1. An upgrade that fails here changes what `listener` and `sender` call: read both again."""
    found = inspect.signature(part).parameters  # type: ignore[arg-type]
    missing = [name for name in parameters if name not in found]
    assert not missing, f"redis-py's {part} takes no {missing} any more"


def test_redis_py_names_the_sentinels_that_have_to_be_closed():
    pool = SentinelConnectionPool("shop", Sentinel([("one.example", 26379)]))
    assert hasattr(pool, "sentinel_manager"), "listener.close_pool leaves the connections to Sentinels open"
    assert hasattr(pool.sentinel_manager, "sentinels")


@needs_redis
async def test_health_checks_of_redis_py_do_not_disturb_the_listening():
    with Redis() as server:
        heard: list[bytes] = []
        interval = 0.2
        checking = partial(_pool, {**_host(server.url), "health_check_interval": interval})
        listener = Listener(checking, lambda _, data: heard.append(data))
        async with Client.from_url(server.url) as client:
            await listener.subscribe("one")
            before = [each["id"] for each in await client.client_list(_type="pubsub")]
            due = asyncio.get_running_loop().time() + interval
            await apoll(lambda: asyncio.get_running_loop().time() > due)
            await listener.subscribe("two")
            await client.publish("two", b"hello")
            await apoll(lambda: heard == [b"hello"])
            assert [each["id"] for each in await client.client_list(_type="pubsub")] == before
        await listener.close()


@needs_redis
async def test_a_loop_ends_a_listener_whose_connection_ends_at_that_moment():
    """A TaskGroup that has just failed would swallow the one cancellation that there is."""
    with Redis() as server:
        listening: list[asyncio.Task[None]] = []

        def end_and_fail(name: str, data: bytes) -> None:
            listening.extend(task for task in asyncio.all_tasks() if task.get_name() == "redis-listen")
            listening[0].cancel()
            raise ConnectionError("the end, as seen by the reader")

        listener = Listener(partial(_pool, _host(server.url)), end_and_fail)
        await listener.subscribe("one")
        async with Client.from_url(server.url) as client:
            await client.publish("one", b"hello")
        await apoll(lambda: listening and listening[0].done())
        await listener.close()


@needs_redis
async def test_a_loop_ends_a_listener_that_is_writing():
    """redis-py's time-out for a write would swallow the cancellation when the write ends at that moment."""
    with Redis() as server:
        listener = Listener(partial(_pool, _host(server.url)), lambda *_: None)
        await listener.subscribe("one")
        for turns in range(8):  # of the loop, from the command until it is written
            await listener.subscribe(f"name-{turns}")
            listener.unsubscribe(f"name-{turns}")
            for _ in range(turns):
                await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE):
                await listener.close()
