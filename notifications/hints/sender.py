"""What is said to one Redis: many messages in one write, and a rest for a Redis that is in trouble.

Called by `layers`. A server that fails rests: until it answers a ping again, what is to be said to it is refused at
once. So one of several servers, when it hangs, costs the others a fraction of a second, once.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError

from notifications.hints.listener import close_pool, described
from notifications.hints.publish import Resting

logger = logging.getLogger(__name__)

#: Seconds for one write and its answers: less than publish.SEND_TIMEOUT, so that the server that hangs is found here.
#: Redis answers in under a millisecond, or it is in trouble.
LIMIT = 0.4
#: Seconds between two questions whether a server that rests is back.
REST_SECONDS = 1.0
#: Messages in one write. More of them make it hardly cheaper, and the answer to the first one waits for the last one.
AT_ONCE = 100


class _Message(NamedTuple):
    name: str
    data: bytes
    sent: asyncio.Future[None]


class Sender:
    """Publishes on one Redis, in the order of the calls. Belongs to one event loop."""

    def __init__(self, connect: Callable[[], ConnectionPool]) -> None:
        self._connect = connect
        self._waiting: list[_Message] = []
        self._something_waits = asyncio.Event()
        self._rests = False
        self._sending: asyncio.Task[None] | None = None
        self._connection: AbstractConnection | None = None

    async def publish(self, name: str, data: bytes) -> None:
        """Returns when Redis has taken it. Raises `Resting` when Redis is in trouble."""
        if self._rests:
            raise Resting("This Redis rests: it has failed a moment ago.")
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Message(name, data, sent))
        self._something_waits.set()
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all(), name="redis-send")
        await sent

    async def close(self) -> None:
        """End the connections; the next `publish` begins anew."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send_all(self) -> None:
        pool = self._connect()
        batch: list[_Message] = []
        try:
            while True:
                if not self._waiting:
                    self._something_waits.clear()
                    await self._something_waits.wait()
                batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                try:
                    async with asyncio.timeout(LIMIT):
                        await self._publish(pool, batch)
                except Exception as error:  # any trouble of Redis: hints are only hints
                    self._rests = True
                    logger.warning(
                        "A Redis rests, hints to it are dropped and the tail check repairs: %s", described(error)
                    )
                    self._refuse([*batch, *self._waiting], error)
                    self._waiting, batch = [], []
                    await self._disconnect(pool)
                    await self._until_it_answers(pool)
                    self._rests = False
                    logger.info("The Redis that rested answers again.")
                else:
                    for message in batch:
                        if not message.sent.done():
                            message.sent.set_result(None)
        finally:
            self._rests = False
            for message in [*batch, *self._waiting]:
                message.sent.cancel()
            self._waiting = []
            await self._disconnect(pool)
            await close_pool(pool)

    async def _publish(self, pool: ConnectionPool, messages: list[_Message]) -> None:
        """One write for all of them, and their answers. Raises what redis-py raises, or TimeoutError."""
        # A caller that has given its message up meanwhile needs it no more.
        commands = [("PUBLISH", message.name, message.data) for message in messages if not message.sent.done()]
        if not commands:
            return
        was_open = self._connection is not None
        try:
            await self._ask(pool, commands)
        except RedisConnectionError:
            if not was_open:
                raise
            # Redis was restarted since the last hint: on a new connection. A hint that goes twice does no harm.
            await self._disconnect(pool)
            await self._ask(pool, commands)

    async def _ask(self, pool: ConnectionPool, commands: Sequence[tuple[str | bytes, ...]]) -> None:
        if self._connection is None:
            self._connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        await self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
        for _ in commands:
            await self._connection.read_response(timeout=math.inf)

    async def _until_it_answers(self, pool: ConnectionPool) -> None:
        while True:
            await asyncio.sleep(REST_SECONDS)
            try:
                async with asyncio.timeout(LIMIT):
                    await self._ask(pool, [("PING",)])
            except Exception as error:  # still the same trouble, which the log has
                logger.debug("The Redis that rests does not answer: %s", described(error))
                await self._disconnect(pool)
            else:
                return

    async def _disconnect(self, pool: ConnectionPool) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
            await pool.release(connection)

    def _refuse(self, messages: list[_Message], error: Exception) -> None:
        for message in messages:
            if not message.sent.done():
                message.sent.set_exception(Resting(f"Redis has failed: {described(error)}"))
