"""One connection to PostgreSQL that notifies and listens: what `postgres` says and hears goes through here.

It speaks through psycopg's public wrapper of libpq (`AsyncConnection.pgconn`), and not through its cursors: those let
nobody say anything while somebody listens, and when they are given up, they ask a server that hangs to cancel. It asks
PostgreSQL for a sign of life, and connects anew when there is none. It knows texts; what they mean is the layer's.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg
from psycopg import pq, sql

from notifications.hints.publish import Resting

logger = logging.getLogger(__name__)

#: Seconds to connect and to log in, all hosts together: a PostgreSQL that hangs accepts, and never answers.
CONNECT_SECONDS = 5.0
#: Seconds that one message waits until it is given up: less than publish.SEND_TIMEOUT, which would make a pause.
LIMIT = 0.4
#: Seconds for an answer until the connection is given up. Longer than LIMIT: a server that is busy for a moment still
#: tells what others have said.
ANSWER_SECONDS = 5.0
#: Seconds between two questions to a PostgreSQL that has nothing else to answer.
PING_SECONDS = 10.0
#: Seconds of rest before the next try to connect.
RETRY_SECONDS = 1.0
#: Messages in one statement: each statement is a transaction, and those of all processes wait for one another.
AT_ONCE = 100

#: A hint that a crash of PostgreSQL takes along is only a hint; without this each would wait for the disk.
NO_WAIT = b"SET synchronous_commit = off"
PING = b"SELECT 1"


class _Message(NamedTuple):
    payload: str
    sent: asyncio.Future[None]


class Link:
    """Notifies on one PostgreSQL channel, in the order of the calls, and hands on what it hears there, its own too.

    Belongs to one event loop. `deliver(payload)` is called on it for each message; it must not wait, and must not
    raise. Connects with the first call; listens from the first `listen` on.
    """

    def __init__(self, connection: Mapping[str, Any], channel: str, deliver: Callable[[str], None]) -> None:
        self._parameters = connection
        self._channel = channel
        self._deliver = deliver
        self._working: asyncio.Task[None] | None = None
        self._waiting: list[_Message] = []
        self._wake = asyncio.Event()
        #: Whether the last try to connect, or the last connection, has failed.
        self._rests = False
        self._wanted = False
        self._listening = asyncio.Event()
        #: When PostgreSQL was asked what it has not answered yet, by the loop's clock.
        self._asked_at: float | None = None
        self._answered_at = 0.0
        self._descriptor = -1

    @property
    def listens(self) -> bool:
        """Whether what is notified now will be heard."""
        return self._listening.is_set()

    async def listen(self) -> None:
        """Returns when PostgreSQL has confirmed it, and waits for a PostgreSQL that is away: bound it."""
        self._wanted = True
        self._work()
        await self._listening.wait()

    async def publish(self, payload: str) -> None:
        """Returns when PostgreSQL has taken it. Raises `Resting` when PostgreSQL is in trouble."""
        loop = asyncio.get_running_loop()
        if self._rests or (self._asked_at is not None and loop.time() > self._asked_at + LIMIT):
            raise Resting("PostgreSQL rests: it has failed, or not answered, a moment ago.")
        sent: asyncio.Future[None] = loop.create_future()
        self._waiting.append(_Message(payload, sent))
        self._work()
        try:
            async with asyncio.timeout(LIMIT):
                await sent
        except TimeoutError:
            raise Resting(f"PostgreSQL has not answered within {LIMIT} s.") from None

    async def close(self) -> None:
        """End the connection; the next call begins anew."""
        working, self._working = self._working, None
        self._wanted = False
        if working is not None:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    def _work(self) -> None:
        self._wake.set()
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._keep_connected(), name="postgres-hints")

    async def _keep_connected(self) -> None:
        """Keep one connection, through whatever trouble PostgreSQL is in."""
        try:
            while True:
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        connection = await psycopg.AsyncConnection.connect(**self._parameters, autocommit=True)
                    try:
                        await self._converse(connection.pgconn)
                    finally:
                        self._listening.clear()
                        self._asked_at = None
                        # Without a word to the server, and so without waiting for it.
                        await connection.close()
                except Exception as error:  # any trouble: hints are lost meanwhile, and the tail check repairs
                    self._rests = True
                    self._refuse(self._waiting, error)
                    self._waiting = []
                    logger.warning(
                        "PostgreSQL carries no hints, trying again in %s s; the tail check delivers: %s",
                        RETRY_SECONDS,
                        _described(error),
                    )
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._rests = False
            for message in self._waiting:
                message.sent.cancel()
            self._waiting = []

    async def _converse(self, pgconn: pq.abc.PGconn) -> None:
        """Ask, read and watch one connection; raises what ended it."""
        loop = asyncio.get_running_loop()
        # Our own descriptor of the socket: libpq closes its when the connection ends, and the loop would go on watching
        # a number that is the next client's.
        self._descriptor = os.dup(pgconn.socket)
        loop.add_reader(self._descriptor, self._wake.set)
        try:
            await self._ask(pgconn, NO_WAIT)
            self._rests = False
            logger.info("PostgreSQL carries hints.")
            while True:
                if self._wanted and not self.listens:
                    await self._ask(pgconn, sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)).as_bytes())
                    self._listening.set()
                elif batch := self._next():
                    await self._notify(pgconn, batch)
                elif loop.time() >= self._answered_at + PING_SECONDS:
                    await self._ask(pgconn, PING)
                else:
                    await self._woken(self._answered_at + PING_SECONDS)
                    self._read(pgconn)
        finally:
            loop.remove_reader(self._descriptor)
            loop.remove_writer(self._descriptor)
            os.close(self._descriptor)

    async def _notify(self, pgconn: pq.abc.PGconn, messages: list[_Message]) -> None:
        """One statement for all of them, and its answer."""
        calls = ", ".join(f"pg_notify($1, ${number})" for number in range(2, len(messages) + 2))
        values = [self._channel, *(message.payload for message in messages)]
        try:
            await self._ask(pgconn, f"SELECT {calls}".encode(), [value.encode() for value in values])
        except Exception as error:
            self._refuse(messages, error)
            raise
        except asyncio.CancelledError:
            for message in messages:
                message.sent.cancel()
            raise
        for message in messages:
            if not message.sent.done():
                message.sent.set_result(None)

    async def _ask(self, pgconn: pq.abc.PGconn, statement: bytes, values: list[bytes] | None = None) -> None:
        """Returns when PostgreSQL has answered. Raises TimeoutError, or what `_read` raises."""
        loop = asyncio.get_running_loop()
        pgconn.send_query_params(statement, values)
        self._asked_at = loop.time()
        while True:
            # What the kernel does not take now it is given when it takes more.
            if pgconn.flush():
                loop.add_writer(self._descriptor, self._wake.set)
            else:
                loop.remove_writer(self._descriptor)
            await self._woken(self._asked_at + ANSWER_SECONDS)
            if self._read(pgconn):
                break
            if loop.time() >= self._asked_at + ANSWER_SECONDS:
                raise TimeoutError(f"PostgreSQL has not answered for {ANSWER_SECONDS} s.")
        self._asked_at, self._answered_at = None, loop.time()

    async def _woken(self, until: float) -> None:
        """Wait for something to read, to write or to say, or for that moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._wake.wait()
        self._wake.clear()

    def _next(self) -> list[_Message]:
        """What is said next, oldest first; a caller that has given its message up meanwhile needs it no more."""
        batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        return [message for message in batch if not message.sent.done()]

    def _read(self, pgconn: pq.abc.PGconn) -> bool:
        """Hand on what has arrived; whether the answer to what was asked is complete.

        Raises `psycopg.OperationalError` for an answer that is an error, and for a connection that has ended.
        """
        pgconn.consume_input()
        answered = False
        while self._asked_at is not None and not answered and not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                answered = True
            elif result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
                raise psycopg.OperationalError(result.error_message.decode(errors="replace").strip())
        # After the answer: libpq goes on in what it has read, and no event tells of what is there already.
        while notice := pgconn.notifies():
            self._deliver(notice.extra.decode(errors="replace"))  # what is ours is ASCII
        return answered

    def _refuse(self, messages: list[_Message], error: Exception) -> None:
        for message in messages:
            if not message.sent.done():
                message.sent.set_exception(Resting(f"PostgreSQL has failed: {_described(error)}"))


def _described(error: Exception) -> str:
    """The error for the log, on one line: libpq's have several."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
