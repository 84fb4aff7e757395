"""A customer's browser as the fault tests need it: it holds a stale snapshot, applies frames, and always comes back.

It shares no code with the server. What the server promises it takes at its word: it does not sort, and drops nothing,
so a frame that comes twice, too early or not at all is a violation, written down and never healed.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from tests.faults.outage import lasting
from tests.faults.transports import Ended, Failed, Transport, Way
from tests.polling import apoll

#: A server that is away for longer than this is a failure of the test.
GIVE_UP_SECONDS = 40.0


class Snapshot(NamedTuple):
    """What a page shows when it has loaded: where in which stream it was read, and the orders by number."""

    stream: str
    head: int
    orders: dict[str, dict[str, Any]]


class Client:
    """One tab of one customer. `follow` runs until it is cancelled; everything else is for looking at.

    `urls` are the web processes (`http://…`) that it moves among, one after the other, each time it has to come back;
    `way` is how.
    """

    def __init__(
        self,
        *,
        customer: str,
        token: str,
        urls: Sequence[str],
        way: Way,
        snapshot: Callable[[], Awaitable[Snapshot]],
    ) -> None:
        self.customer = customer
        self.urls = list(urls)
        self._token = token
        self.way = way
        self._read_snapshot = snapshot
        self._visits = 0
        self._connection: Transport | None = None
        self.stream = ""
        self.start = 0
        self.held = 0
        self.orders: dict[str, dict[str, Any]] = {}
        #: The notifications, as they came.
        self.delivered: list[dict[str, Any]] = []
        self.violations: list[str] = []
        self.closes: Counter[int] = Counter()
        self.byes: list[dict[str, Any]] = []
        self.resets: list[str] = []
        self.connected_to: list[str] = []

    @property
    def is_connected(self) -> bool:
        """Greeted, and not closed since."""
        return self._connection is not None

    async def load(self) -> None:
        """Take a snapshot over HTTP, from which everything that is delivered later goes on."""
        self.stream, self.held, self.orders = await self._read_snapshot()
        self.start = self.held
        self.delivered.clear()

    async def follow(self) -> None:
        """Connect, apply what comes, and come back with the number it holds, for ever."""
        try:
            while True:
                await self._visit(await self._connect())
                async with lasting(self.way.retry_seconds):
                    pass
        except Failed as failed:
            self.violations.append(f"{self.customer} cannot come back: {failed}")

    async def _visit(self, connection: Transport) -> None:
        """One connection, from the greeting to its end."""
        try:
            while True:
                await self._take(connection, await connection.receive())
        except Ended as ended:
            self.closes[ended.code] += 1
            if 4500 <= ended.code < 5000:
                raise Failed(f"told to stop with {ended.code}") from ended
        finally:
            self._connection = None
            # A dead network must not keep the client from trying the next one.
            await connection.drop()

    async def leave(self) -> None:
        """Close the connection as a page does that is left; `follow` comes back, to the next of `urls`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.leave()

    async def _connect(self) -> Transport:
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        while True:
            url = self.urls[self._visits % len(self.urls)]
            self._visits += 1
            connection = await self.way.connect(url, self._token, self)
            if connection is not None:
                self.connected_to.append(url)
                return connection
            assert time.monotonic() < give_up_at, f"{self.customer} is not let in"
            async with lasting(self.way.retry_seconds):
                pass

    async def _take(self, connection: Transport, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "notification":
                self._apply(frame)
            case "welcome":
                self._connection = connection
                self._expect(frame["user"] == self.customer, f"greeted as {frame['user']}")
            case "ping":
                self._expect(frame["head"] <= self.held, f"pinged with {frame['head']} while at {self.held}")
                await connection.pong()
            case "reset":
                self.resets.append(frame["reason"])
                await self.load()
            case "bye":
                self.byes.append(frame)
            case "read":
                pass
            case other:
                self.violations.append(f"got a frame of type {other}: {frame}")

    def _apply(self, frame: dict[str, Any]) -> None:
        seq, order = frame["seq"], frame["order"]
        self._expect(seq == self.held + 1, f"got number {seq} while at {self.held}")
        self.held = seq
        if order["version"] > self.orders.get(order["number"], {"version": 0})["version"]:
            self.orders[order["number"]] = order
        self.delivered.append(frame)

    def _expect(self, so: bool, otherwise: str) -> None:
        if not so:
            self.violations.append(f"{self.customer} {otherwise}, connection {len(self.connected_to)}")


async def all_hold(clients: Sequence[Client], heads: dict[str, int]) -> None:
    """Wait until each client holds its customer's head."""

    def lacking() -> list[str]:
        behind = [client for client in clients if client.held < heads[client.customer]]
        return [f"{c.customer} is at {c.held} of {heads[c.customer]}, {c.is_connected=}, {c.closes}" for c in behind]

    await apoll(lambda: not lacking(), saying=lambda: f"clients lack notifications: {lacking()}")


async def all_connected(clients: Sequence[Client]) -> None:
    """Wait until each client has been greeted."""
    await apoll(
        lambda: all(client.is_connected for client in clients),
        within=GIVE_UP_SECONDS,
        saying=lambda: f"not connected: {[(c.customer, c.closes) for c in clients if not c.is_connected]}",
    )


async def all_hear_more(clients: Sequence[Client]) -> None:
    """Wait until each client has been delivered something that it lacked when this was called."""
    counts = [len(client.delivered) for client in clients]
    await apoll(
        lambda: all(len(client.delivered) > count for client, count in zip(clients, counts, strict=True)),
        saying="clients that hear nothing new",
    )


def by(way: type[Way], clients: Sequence[Client]) -> list[Client]:
    """Those of the clients that are connected in that way."""
    return [client for client in clients if isinstance(client.way, way)]


async def cancelled(*tasks: "asyncio.Task[Any]") -> None:
    """End tasks that would run for ever; what one of them raised before is raised here."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
