"""The channel layer that carries hints between processes over PostgreSQL alone: LISTEN and NOTIFY, where no Redis is.

Named in `settings.CHANNEL_LAYERS`; everybody else asks `channels.layers.get_channel_layer()`. Each process has one
connection (`postgres_link`) and listens on one PostgreSQL channel; who in the process gets a message is found here.

What is notified carries no notification: a payload holds under 8,000 bytes, and any role that may connect to the
database may listen and notify too (postgresql.org/docs, NOTIFY). So an `Appended` goes without its frames, both ways,
and the hub reads the log. It encrypts nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from channels.layers import BaseChannelLayer
from django.core.exceptions import ImproperlyConfigured

from notifications.hints.postgres_link import AT_ONCE, Link

logger = logging.getLogger(__name__)

#: Bytes of a payload at most: PostgreSQL refuses 8,000 (NOTIFY_PAYLOAD_MAX_LENGTH with its usual block size).
MAX_PAYLOAD = 7_999
#: Bytes of the name of a PostgreSQL channel at most (NAMEDATALEN - 1).
MAX_CHANNEL = 63
#: What a group's name begins with in a payload. No channel's does.
GROUP = "+"


class PostgresLayer(BaseChannelLayer):
    """A channel layer on the PostgreSQL that `connection` leads to: parameters of libpq by name.

    It has to be a connection of one's own for as long as it lasts, and so none through PgBouncer's transaction pooling.
    `prefix` names the PostgreSQL channel: deployments in one database differ in it.

    `group_send` and `send` raise `publish.Resting` when PostgreSQL is in trouble, and ValueError for a message that is
    too large and cannot be divided. `new_channel` waits for PostgreSQL; groups are joined and left without it.
    """

    extensions = ["groups", "flush"]
    #: How many messages may be sent at once; they arrive in the order in which `group_send` was called.
    sends_at_once = AT_ONCE

    def __init__(self, connection: Mapping[str, Any], *, prefix: str = "orderwire") -> None:
        super().__init__()
        if not 0 < len(prefix.encode()) <= MAX_CHANNEL:
            raise ImproperlyConfigured(f"The name of a PostgreSQL channel has 1 to {MAX_CHANNEL} bytes.")
        self._connection = dict(connection)
        self._prefix = prefix
        self._loops: dict[asyncio.AbstractEventLoop, _OnLoop] = {}

    @property
    def hears(self) -> bool:
        """Whether what other processes say arrives at this loop's channels; True if it has none."""
        here = self._loops.get(asyncio.get_running_loop())
        return here is None or here.hears

    async def new_channel(self, prefix: str = "specific.") -> str:
        return await self._here().new_channel(f"{prefix}{uuid4().hex}")

    async def receive(self, channel: str) -> dict[str, Any]:
        """The next message on the channel. A caller that gives up gives the channel up, as with Redis."""
        return await self._here().receive(channel)

    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        await self._publish(channel, message)

    async def group_add(self, group: str, channel: str) -> None:
        self._here().join(f"{GROUP}{group}", channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self._here().leave(f"{GROUP}{group}", channel)

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        await self._publish(f"{GROUP}{group}", message)

    async def flush(self) -> None:
        """End this loop's connection, and forget its channels and groups; the next call begins anew."""
        if (here := self._loops.pop(asyncio.get_running_loop(), None)) is not None:
            await here.close()

    async def _publish(self, name: str, message: Mapping[str, Any]) -> None:
        link = self._here().link
        for payload in payloads(name, message):
            await link.publish(payload)

    def _here(self) -> _OnLoop:
        loop = asyncio.get_running_loop()
        here = self._loops.get(loop)
        if here is None:
            # A loop that ended has ended its tasks, and they have closed their connections.
            self._loops = {known: state for known, state in self._loops.items() if not known.is_closed()}
            here = self._loops[loop] = _OnLoop(self._connection, self._prefix)
        return here


class _OnLoop:
    """What the layer holds on one event loop: the queues of its channels, its groups, and the connection."""

    def __init__(self, connection: Mapping[str, Any], prefix: str) -> None:
        self.queues: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self.groups: dict[str, set[str]] = {}
        self.link = Link(connection, prefix, self._deliver)

    @property
    def hears(self) -> bool:
        return not self.queues or self.link.listens

    async def new_channel(self, channel: str) -> str:
        self.queues[channel] = asyncio.Queue()
        try:
            await self.link.listen()
        except BaseException:  # given up: nobody will ever receive from it
            self._forget(channel)
            raise
        return channel

    async def receive(self, channel: str) -> dict[str, Any]:
        if channel not in self.queues:
            await self.new_channel(channel)
        try:
            return await self.queues[channel].get()
        except BaseException:  # Channels has no other way to say that a consumer has ended
            self._forget(channel)
            raise

    def join(self, name: str, channel: str) -> None:
        if channel not in self.queues:
            raise RuntimeError(f"{channel} is no channel of this process, and cannot join a group here.")
        self.groups.setdefault(name, set()).add(channel)

    def leave(self, name: str, channel: str) -> None:
        members = self.groups.get(name, set())
        members.discard(channel)
        if not members:
            self.groups.pop(name, None)

    async def close(self) -> None:
        self.queues.clear()
        self.groups.clear()
        await self.link.close()

    def _deliver(self, payload: str) -> None:
        """Hand a payload on to its channels. Most are for users whom nobody follows here, and are not even decoded."""
        name, _, text = payload.partition(" ")
        channels = self.groups.get(name, ()) if name.startswith(GROUP) else (name,)
        queues = [queue for channel in channels if (queue := self.queues.get(channel)) is not None]
        if not queues:
            return
        message = _decoded(text)
        for queue in queues if message is not None else ():
            queue.put_nowait(dict(message or {}))

    def _forget(self, channel: str) -> None:
        self.queues.pop(channel, None)


def payloads(name: str, message: Mapping[str, Any]) -> list[str]:
    """The message as ASCII texts, each small enough for NOTIFY: many keys of things are divided among several.

    Raises ValueError for a message that is too large and has no keys to divide.
    """
    payload = f"{name} {json.dumps(_without_frames(message), separators=(',', ':'))}"
    if len(payload) <= MAX_PAYLOAD:
        return [payload]
    keys = message.get("keys")
    if not isinstance(keys, list) or len(keys) < 2:  # noqa: PLR2004 -- one cannot be divided
        raise ValueError(f"A message of {len(payload)} bytes is too large for NOTIFY, which takes {MAX_PAYLOAD}.")
    middle = len(keys) // 2
    return [text for part in (keys[:middle], keys[middle:]) for text in payloads(name, {**message, "keys": part})]


def _without_frames(message: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**message, "entries": []} if message.get("type") == "stream.appended" else message


def _decoded(text: str) -> Mapping[str, Any] | None:
    """The message, or None for what is none: whoever may connect to the database can notify anything."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        logger.warning("A message on PostgreSQL is not one of ours, and is dropped.")
        return None
    return _without_frames(found)
