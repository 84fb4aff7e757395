"""The channel layer that carries hints between processes: Redis pub/sub, with limits on how long it may hang.

Named in `settings.CHANNEL_LAYERS`; everybody else asks `channels.layers.get_channel_layer()`, and any other layer
works too. `hub` listens on one channel for the whole process, so each message is decoded once, however many sockets it
is for.

The layer is channels-redis'; how it speaks to each Redis (`Shard`) is ours. Every notification to every process comes
this way, and channels-redis reads them through redis-py's pub/sub client, which spends a fifth to a third of what a
whole delivery costs; it also publishes one message at a time, and waits for ever for a Redis that is gone without a
word.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import uuid4

import hiredis
from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer
from channels_redis.utils import create_pool
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from notifications.hints.redis_urls import sentinel

logger = logging.getLogger(__name__)

#: Seconds for one answer of Redis. redis-py's default of 5 is too patient for a hint, and None would hang for ever on a
#: Redis that accepts and never answers. Waiting for the next message is not counted: `PING_SECONDS` is for that.
SOCKET_TIMEOUT = 2.0
#: Seconds to connect: on a refused connection the answer comes at once, on a lost host never.
CONNECT_TIMEOUT = 1.0
#: redis-py's pool of 100 raises when it is empty, and thousands may come back at once after a deploy.
MAX_CONNECTIONS = 1_000
#: RESP 2: for each message that RESP 3 brings, redis-py's parser makes a text for its debug log.
PROTOCOL = 2
#: Seconds between two pings to a Redis that is listened to; one that has said nothing since the last is given up.
PING_SECONDS = 10.0
#: Seconds of rest before the next try to listen.
RETRY_SECONDS = 1.0
#: Seconds for one Sentinel, and no second try: the next one is asked, well within what one hint may take.
SENTINEL_LIMITS = {"socket_timeout": 0.1, "socket_connect_timeout": 0.1, "retry": Retry(NoBackoff(), 0)}
#: Bytes read at a time: what the kernel holds for one connection, more or less.
READ_BYTES = 64 * 1024


class RedisLayer(RedisPubSubChannelLayer):
    """channels-redis' pub/sub layer on `urls`; several URLs share the groups out among them.

    `redis://`, `rediss://` and `unix://` are read by redis-py; `sentinel://host:port[,host:port]/service` is Sentinel.
    """

    def __init__(self, urls: list[str], **kwargs: Any) -> None:
        self._hosts = [_host(url) for url in urls]
        super().__init__(hosts=self._hosts, **kwargs)

    async def new_channel(self, prefix: str = "specific.") -> str:
        layer = self._get_layer()
        channel = f"{layer.prefix}{prefix}{uuid4().hex}"
        try:
            await layer._subscribe_to_channel(channel)
        except BaseException:  # given up: nobody will ever receive from it
            layer.channels.pop(channel, None)
            await layer._get_shard(channel).unsubscribe(channel)
            raise
        return channel

    def _get_layer(self) -> RedisPubSubLoopLayer:
        loop = asyncio.get_running_loop()
        if loop not in self._layers:
            layer = super()._get_layer()  # which puts itself into `_layers`
            layer._shards = [Shard(host, layer) for host in self._hosts]
        return self._layers[loop]


class Shard:
    """One Redis: a pool of connections to publish on, and one connection that listens. Belongs to one event loop.

    Has the methods of channels-redis' `RedisSingleShardConnection`, for its `RedisPubSubLoopLayer`, which knows the
    queues of this process by channel and the channels by group.
    """

    def __init__(self, host: dict[str, Any], layer: RedisPubSubLoopLayer) -> None:
        self._host = host
        self._layer = layer
        self._redis: Redis | None = None
        self._listening: asyncio.Task[None] | None = None
        self._connection: AbstractConnection | None = None
        #: The names to listen for, and those of them that Redis has confirmed on this connection.
        self._wanted: set[str] = set()
        self._confirmed: set[str] = set()
        #: Done when the name is confirmed.
        self._awaited: dict[str, asyncio.Future[None]] = {}
        self._heard = False

    async def publish(self, name: str, message: bytes) -> None:
        """Raises redis-py's `RedisError` when Redis does not take it."""
        await self._client().publish(name, message)

    async def subscribe(self, name: str) -> None:
        """Listen for the name. Returns when Redis has confirmed it, and waits for a Redis that is away: bound it."""
        self._wanted.add(name)
        if name in self._confirmed:
            return
        if self._listening is None:
            self._client()
            self._listening = asyncio.create_task(self._listen(), name="redis-listen")
        confirmed = self._awaited.setdefault(name, asyncio.get_running_loop().create_future())
        self._say("SUBSCRIBE", name)  # without a connection the listener asks, as soon as it has one
        await asyncio.shield(confirmed)  # others may wait for the same one

    async def unsubscribe(self, name: str) -> None:
        """Listen for the name no more."""
        self._wanted.discard(name)
        self._confirmed.discard(name)
        self._confirm(name)  # nobody waits for it any more
        self._say("UNSUBSCRIBE", name)

    def _say(self, *words: str) -> None:
        """Write a command, a few bytes, without waiting; nothing if there is no connection."""
        # redis-py's `send_command` waits, and who gives it up meanwhile ends the connection for everybody; it may read
        # (health checks), which is `_receive`'s; and it opens a connection anew that has ended.
        writer = None if self._connection is None else self._connection._writer
        if self._connection is not None and writer is not None:
            writer.writelines(self._connection.pack_command(*words))

    async def flush(self) -> None:
        """End every connection; the next call begins anew."""
        listening, self._listening = self._listening, None
        while listening is not None and not listening.done():
            listening.cancel()  # again, since a TaskGroup whose own task has just failed swallows it
            await asyncio.wait({listening}, timeout=0.1)
        client, self._redis = self._redis, None
        if client is not None:
            await client.aclose(close_connection_pool=True)
            for sentinel in getattr(getattr(client.connection_pool, "sentinel_manager", None), "sentinels", ()):
                await sentinel.aclose()
        self._wanted.clear()
        for confirmed in self._awaited.values():
            confirmed.cancel()
        self._awaited.clear()

    def _client(self) -> Redis:
        if self._redis is None:
            self._redis = Redis(connection_pool=create_pool(self._host))
        return self._redis

    async def _listen(self) -> None:
        """Keep one connection that listens, through whatever trouble Redis is in."""
        pool = self._client().connection_pool
        while True:
            try:
                connection = await pool.get_connection()  # type: ignore[no-untyped-call]
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._receive(connection))
                        group.create_task(self._watch(connection))
                        # First known to `subscribe`: a name that comes while the others are asked for asks for itself.
                        self._connection = connection
                        if self._wanted:
                            self._say("SUBSCRIBE", *self._wanted)
                finally:
                    self._connection = None
                    self._confirmed.clear()
                    await connection.disconnect(nowait=True)
                    await pool.release(connection)
            except Exception as error:  # any trouble: hints are lost meanwhile, and the tail check repairs
                logger.warning("Redis cannot be listened to, trying again in %s s: %r", RETRY_SECONDS, error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _receive(self, connection: AbstractConnection) -> None:
        """Hand on what arrives, many messages for one read; raises ConnectionError at the end of the connection."""
        # redis-py has made the connection, with all that belongs to it (TLS, passwords, Sentinel); its own way to read
        # would set up a time-out and a task's wait for each message.
        stream: asyncio.StreamReader = connection._reader  # type: ignore[assignment]
        replies = hiredis.Reader()
        while data := await stream.read(READ_BYTES):
            self._heard = True
            replies.feed(data)
            while (reply := replies.gets()) is not False:
                self._take(reply)
        raise ConnectionError("Redis has ended the connection.")

    def _take(self, reply: Any) -> None:
        match reply:
            case [b"message", name, data]:
                self._deliver(name.decode(), data)
            case [b"subscribe", name, _]:
                self._confirm(name.decode())
            case Exception():  # an error reply
                raise reply

    def _deliver(self, name: str, data: bytes) -> None:
        queues = self._layer.channels
        for channel in (name,) if name in queues else self._layer.groups.get(name, ()):
            if channel in queues:
                queues[channel].put_nowait(data)

    def _confirm(self, name: str) -> None:
        if name in self._wanted:
            self._confirmed.add(name)
        if (confirmed := self._awaited.pop(name, None)) is not None and not confirmed.done():
            confirmed.set_result(None)

    async def _watch(self, connection: AbstractConnection) -> None:
        """Raise TimeoutError when Redis is silent: a host that is lost, or a firewall in between, says no good-bye."""
        while True:
            self._heard = False
            self._say("PING")
            await asyncio.sleep(PING_SECONDS)
            if not self._heard:
                raise TimeoutError(f"Redis has not answered for {PING_SECONDS} s.")


def _host(url: str) -> dict[str, Any]:
    """The arguments of a connection pool, as channels-redis takes them."""
    limits = {"socket_timeout": SOCKET_TIMEOUT, "socket_connect_timeout": CONNECT_TIMEOUT, "protocol": PROTOCOL}
    service = sentinel(url)
    if service is None:
        return {"address": url, "max_connections": MAX_CONNECTIONS, **limits}
    return {
        "sentinels": list(service.hosts),
        "sentinel_kwargs": SENTINEL_LIMITS,
        "master_name": service.name,
        **({"username": service.user} if service.user else {}),
        "password": service.password,
        "db": service.database,
        **limits,
    }
