"""The channel layer that carries hints between processes: Redis pub/sub, with limits on how long it may hang.

Named in `settings.CHANNEL_LAYERS`; everybody else asks `channels.layers.get_channel_layer()`, and any other layer
works too. `hub` listens on one channel for the whole process, so each message is decoded once, however many sockets it
is for.

The names and the format of the messages are those of channels-redis' pub/sub layer: a process that uses that layer is
heard here, and hears what is said here. Reading and writing are ours (`listener`, `sender`), through the public parts
of redis-py. Every notification to every process comes this way, and channels-redis' own layer spends several times as
much on each, publishes one message at a time, and waits for ever for a Redis that is gone without a word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import uuid4
from zlib import crc32

from channels.layers import BaseChannelLayer
from channels_redis.serializers import registry
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from notifications.hints import serializer
from notifications.hints.listener import Listener
from notifications.hints.redis_urls import host
from notifications.hints.sender import AT_ONCE, Sender

#: No time-out of redis-py's for an answer: `sender` and `listener` bound what they wait for themselves. Its own makes a
#: task for each write, and asyncio's `wait_for` in it swallows a cancellation that comes as the write ends (Python
#: 3.11), so that a listener would not end.
SOCKET_TIMEOUT = None
#: Seconds to connect: on a refused connection the answer comes at once, on a lost host never.
CONNECT_TIMEOUT = 1.0
#: redis-py's pool of 100 raises when it is empty, and thousands may come back at once after a deploy.
MAX_CONNECTIONS = 1_000
#: RESP 2: for each message that RESP 3 brings, redis-py's parser makes a text for its debug log.
PROTOCOL = 2
#: Bytes read at a time: what the kernel holds for one connection, more or less.
READ_BYTES = 64 * 1024
#: Seconds for one Sentinel, and no second try: the next one is asked, well within what one hint may take.
SENTINEL_LIMITS = {"socket_timeout": 0.1, "socket_connect_timeout": 0.1, "retry": Retry(NoBackoff(), 0)}
#: What stands between the prefix and a group's name in Redis: channels-redis' word.
GROUP = "__group__"


class RedisLayer(BaseChannelLayer):
    """A channel layer on Redis pub/sub at `urls`; several URLs share the groups out among them.

    `redis://`, `rediss://` and `unix://` are read by redis-py; `sentinel://host:port[,host:port]/service` is Sentinel.
    `prefix` begins every name in Redis: pub/sub knows no database numbers, and so deployments on one Redis differ in
    it. With `symmetric_encryption_keys` messages are encrypted with the first key, and taken if any key fits; a message
    that was not is dropped.

    `group_send` and `send` raise `publish.Resting` when Redis is in trouble. `new_channel` and `group_add` wait for it.
    """

    extensions = ["groups", "flush"]
    #: How many messages may be sent at once; they arrive in the order in which `group_send` was called.
    sends_at_once = AT_ONCE

    def __init__(
        self, urls: Sequence[str], *, prefix: str = "asgi", symmetric_encryption_keys: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        self._hosts = [_host(url) for url in urls]
        self._prefix = prefix
        self._serializer = registry.get_serializer(
            serializer.FORMAT, symmetric_encryption_keys=symmetric_encryption_keys
        )
        self._loops: dict[asyncio.AbstractEventLoop, _OnLoop] = {}

    async def new_channel(self, prefix: str = "specific.") -> str:
        return await self._here().new_channel(f"{self._prefix}{prefix}{uuid4().hex}")

    async def receive(self, channel: str) -> dict[str, Any]:
        """The next message on the channel. A caller that gives up gives the channel up, as in channels-redis."""
        message: dict[str, Any] = self._serializer.deserialize(await self._here().receive(channel))
        return message

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        await self._here().publish(channel, self._serializer.serialize(message))

    async def group_add(self, group: str, channel: str) -> None:
        await self._here().join([f"{self._prefix}{GROUP}{group}"], channel)

    async def groups_add(self, groups: Sequence[str], channel: str) -> None:
        """`group_add` for many groups, in one command for each Redis."""
        await self._here().join([f"{self._prefix}{GROUP}{group}" for group in groups], channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self._here().leave(f"{self._prefix}{GROUP}{group}", channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._here().publish(f"{self._prefix}{GROUP}{group}", self._serializer.serialize(message))

    async def flush(self) -> None:
        """End this loop's connections, and forget its channels and groups; the next call begins anew."""
        if (here := self._loops.pop(asyncio.get_running_loop(), None)) is not None:
            await here.close()

    def _here(self) -> _OnLoop:
        loop = asyncio.get_running_loop()
        here = self._loops.get(loop)
        if here is None:
            # A loop that ended has ended its tasks, and they have closed their connections.
            self._loops = {known: state for known, state in self._loops.items() if not known.is_closed()}
            here = self._loops[loop] = _OnLoop(self._hosts)
        return here


class _OnLoop:
    """What the layer holds on one event loop: the queues of its channels, its groups, and the connections to Redis."""

    def __init__(self, hosts: Sequence[dict[str, Any]]) -> None:
        self.queues: dict[str, asyncio.Queue[bytes]] = {}
        self.groups: dict[str, set[str]] = {}
        self.senders = [Sender(partial(_pool, host)) for host in hosts]
        self.listeners = [Listener(partial(_pool, host), self._deliver) for host in hosts]

    async def new_channel(self, channel: str) -> str:
        self.queues[channel] = asyncio.Queue()
        try:
            await self._listener(channel).subscribe(channel)
        except BaseException:  # given up: nobody will ever receive from it
            self._forget(channel)
            raise
        return channel

    async def receive(self, channel: str) -> bytes:
        if channel not in self.queues:
            await self.new_channel(channel)
        try:
            return await self.queues[channel].get()
        except BaseException:  # Channels has no other way to say that a consumer has ended
            self._forget(channel)
            raise

    async def publish(self, name: str, data: bytes) -> None:
        await self.senders[shard_of(name, len(self.senders))].publish(name, data)

    async def join(self, names: Sequence[str], channel: str) -> None:
        if channel not in self.queues:
            raise RuntimeError(f"{channel} is no channel of this process, and cannot join a group here.")
        at: dict[Listener, list[str]] = {}
        for name in names:
            self.groups.setdefault(name, set()).add(channel)
            at.setdefault(self._listener(name), []).append(name)
        await asyncio.gather(*(listener.subscribe(*theirs) for listener, theirs in at.items()))

    def leave(self, name: str, channel: str) -> None:
        members = self.groups.get(name)
        if members is None or channel not in members:
            return
        members.discard(channel)
        if not members:
            del self.groups[name]
            self._listener(name).unsubscribe(name)

    async def close(self) -> None:
        self.queues.clear()
        self.groups.clear()
        for listener in self.listeners:
            await listener.close()
        for sender in self.senders:
            await sender.close()

    def _listener(self, name: str) -> Listener:
        return self.listeners[shard_of(name, len(self.listeners))]

    def _deliver(self, name: str, data: bytes) -> None:
        for channel in self.groups.get(name, (name,)):
            if (queue := self.queues.get(channel)) is not None:
                queue.put_nowait(data)

    def _forget(self, channel: str) -> None:
        if self.queues.pop(channel, None) is not None:
            self._listener(channel).unsubscribe(channel)


def shard_of(name: str, count: int) -> int:
    """Which of `count` servers carries that name: channels-redis' way to share them out."""
    return (crc32(name.encode()) & 0xFFF) * count // 4096


def _pool(described: dict[str, Any]) -> ConnectionPool:
    """A pool of connections to what `_host` describes."""
    options = dict(described)
    if (url := options.pop("address", None)) is not None:
        return ConnectionPool.from_url(url, **options)
    hosts, limits = options.pop("sentinels"), options.pop("sentinel_kwargs")
    sentinels = Sentinel(hosts, sentinel_kwargs=limits)  # type: ignore[no-untyped-call]
    return SentinelConnectionPool(options.pop("master_name"), sentinels, **options)  # type: ignore[no-untyped-call]


def _host(url: str) -> dict[str, Any]:
    """What a connection to that URL takes."""
    limits = {
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_read_size": READ_BYTES,
        "max_connections": MAX_CONNECTIONS,
        "protocol": PROTOCOL,
    }
    found = host(url)
    return {**found, **limits, **({"sentinel_kwargs": SENTINEL_LIMITS} if "sentinels" in found else {})}
