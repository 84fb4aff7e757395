"""One connection to one Redis, which listens: what `layers` hears comes from here.

It reads through redis-py's public connection, and not through redis-py's pub/sub client: that one sets up a retry, a
time-out and two records of telemetry for each message. It asks Redis for a sign of life, and connects anew when there
is none. It knows names and bytes; what they mean is the layer's.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool

logger = logging.getLogger(__name__)

#: Seconds to connect and to log in, Sentinels asked: a Redis that accepts and never answers would take for ever.
CONNECT_SECONDS = 2.0
#: Seconds between two pings to a Redis that is listened to; one that has said nothing since the last is given up.
PING_SECONDS = 10.0
#: Seconds of rest before the next try to listen.
RETRY_SECONDS = 1.0


class Listener:
    """Listens for names on one Redis and hands on what is said to them. Belongs to one event loop.

    `deliver(name, data)` is called on that loop for each message; it must not wait, and must not raise.
    """

    def __init__(self, connect: Callable[[], ConnectionPool], deliver: Callable[[str, bytes], None]) -> None:
        self._connect = connect
        self._deliver = deliver
        self._listening: asyncio.Task[None] | None = None
        #: The names to listen for, and those of them that Redis has confirmed on this connection.
        self._wanted: set[str] = set()
        self._confirmed: set[str] = set()
        #: Done when the name is confirmed.
        self._awaited: dict[str, asyncio.Future[None]] = {}
        #: Commands that are still to be written; None while there is no connection.
        self._unsaid: list[tuple[str, ...]] | None = None
        self._something_to_say = asyncio.Event()
        self._heard = False

    async def subscribe(self, *names: str) -> None:
        """Listen for the names. Returns when Redis has confirmed them, and waits for a Redis that is away: bound it."""
        self._wanted.update(names)
        lacking = [name for name in names if name not in self._confirmed]
        if not lacking:
            return
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen(), name="redis-listen")
        create_future = asyncio.get_running_loop().create_future
        awaited = [self._awaited.get(name) or self._awaited.setdefault(name, create_future()) for name in lacking]
        self._say("SUBSCRIBE", *lacking)  # without a connection `_listen` asks, as soon as it has one
        await asyncio.wait(awaited)  # which leaves them alone when it is given up: others may wait for the same ones
        for confirmed in awaited:
            confirmed.result()

    def unsubscribe(self, name: str) -> None:
        """Listen for the name no more. Does not wait for Redis."""
        self._wanted.discard(name)
        self._confirmed.discard(name)
        self._confirm(name)  # nobody waits for it any more
        self._say("UNSUBSCRIBE", name)

    async def close(self) -> None:
        """End the connection; the next `subscribe` begins anew."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        self._wanted.clear()
        for confirmed in self._awaited.values():
            confirmed.cancel()
        self._awaited.clear()

    def _say(self, *command: str) -> None:
        if self._unsaid is not None:
            self._unsaid.append(command)
            self._something_to_say.set()

    async def _listen(self) -> None:
        """Keep one connection that listens, through whatever trouble Redis is in."""
        pool = self._connect()
        try:
            while True:
                try:
                    connection = await _connection(pool)
                    try:
                        await self._converse(connection)
                    finally:
                        self._unsaid = None
                        self._confirmed.clear()
                        await connection.disconnect(nowait=True)
                        await pool.release(connection)
                except Exception as error:  # any trouble: hints are lost meanwhile, and the tail check repairs
                    why = described(error)
                    logger.warning("Redis cannot be listened to, trying again in %s s: %s", RETRY_SECONDS, why)
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            await close_pool(pool)

    async def _converse(self, connection: AbstractConnection) -> None:
        """Read, write and watch one connection; raises what ended it."""
        # No TaskGroup: one that has just failed swallows the cancellation with which a loop ends its tasks, and a loop
        # cancels only once.
        work = [asyncio.create_task(each(connection)) for each in (self._read, self._write, self._watch)]
        # A name that comes from here on asks for itself.
        self._unsaid = [("SUBSCRIBE", *self._wanted)] if self._wanted else []
        self._something_to_say.set()
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _read(self, connection: AbstractConnection) -> None:
        """Hand on what arrives."""
        # Infinity is redis-py's word for "no time-out": `_watch` is the time-out here. As long as there is a whole
        # message in the parser this does not go through the event loop, and the parser takes many from one read.
        while True:
            reply = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            self._heard = True
            if isinstance(reply, list):
                match reply:
                    case [b"message", name, data]:
                        self._deliver(name.decode(), data)
                    case [b"subscribe", name, _]:
                        self._confirm(name.decode())

    async def _write(self, connection: AbstractConnection) -> None:
        """Write the commands that `_say` has collected: the only place that writes to the connection.

        A caller of `subscribe` may be given up at any time, and redis-py ends a connection whose writer is given up.
        """
        while True:
            await self._something_to_say.wait()
            self._something_to_say.clear()
            commands, self._unsaid = self._unsaid, []
            if not commands:
                continue
            if not connection.is_connected:  # redis-py would connect anew, and nobody would have subscribed
                raise ConnectionError("Redis has ended the connection.")
            # Without redis-py's own health check, which reads, and reading is `_read`'s.
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    async def _watch(self, connection: AbstractConnection) -> None:
        """Raise TimeoutError when Redis is silent: a host that is lost, or a firewall in between, says no good-bye."""
        while True:
            self._heard = False
            self._say("PING")
            await asyncio.sleep(PING_SECONDS)
            if not self._heard:
                raise TimeoutError(f"Redis has not answered for {PING_SECONDS} s.")

    def _confirm(self, name: str) -> None:
        if name in self._wanted:
            self._confirmed.add(name)
        if (confirmed := self._awaited.pop(name, None)) is not None and not confirmed.done():
            confirmed.set_result(None)


async def _connection(pool: ConnectionPool) -> AbstractConnection:
    async with asyncio.timeout(CONNECT_SECONDS):
        connection: AbstractConnection = await pool.get_connection()  # type: ignore[no-untyped-call]
        return connection


async def close_pool(pool: ConnectionPool) -> None:
    """Close the pool's connections, and those to the Sentinels that it asked."""
    await pool.aclose()
    manager: Any = getattr(pool, "sentinel_manager", None)
    for sentinel in manager.sentinels if manager is not None else ():
        await sentinel.aclose()


def described(error: Exception) -> str:
    """The error for the log. The `repr` of redis-py's errors keeps their message to itself."""
    return f"{type(error).__name__}: {error}"
