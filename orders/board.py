"""The staff's board: the latest state of every order that changes, for whom `orders.view_order` lets see them all.

A board socket follows its user's own stream as any other does, and so is greeted, pinged, drained and revoked by the
`hub`; beside that it is told of orders by `Board`, one for each server process. What travels between processes is that
an order has changed; what it has become is read from its row, for all boards of the process in one query, at most
every `PACE` seconds. An order that changes faster is told less often, always with its latest state.

Best effort by contract: orders are not numbered here and nothing is replayed, so a board reads its orders over HTTP
after every connect. What no hint announced is found by a look at what was updated lately. Nothing runs and nothing is
read while nobody watches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from channels.layers import BaseChannelLayer
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import DatabaseError
from django.utils import timezone

from notifications import protocol
from notifications.access.credentials import Credential
from notifications.database import DatabaseThreads
from notifications.delivery.subscriber import Subscriber
from notifications.protocol import CloseCode
from notifications.sockets.consumers import NotificationConsumer
from orders.selectors import orders_changed_since, orders_numbered, snapshot

logger = logging.getLogger(__name__)

#: The topic, and the group of the processes in which somebody watches it.
BOARD = "board"
#: Seconds between two looks at what has changed: people see it at once, and a burst costs four queries a second.
PACE = 0.25
#: Orders read at a time, some 100 KiB of frames.
READ_TOGETHER = 200
#: How far the look at what was updated lately reaches back beyond the previous one: a transaction that commits later
#: than that after its write, or a clock further off, is left to the next time the board is read.
OVERLAP = timedelta(seconds=10)
#: Seconds that a handshake waits for the group to be joined; without it, the look at what was updated goes on.
JOIN_TIMEOUT = 1.0
#: Seconds of rest after the database or the channel layer failed.
RETRY_SECONDS = 1.0


class Board:
    """This process's board sockets. On one event loop, and not thread-safe."""

    def __init__(self, layer: BaseChannelLayer) -> None:
        self._layer = layer
        #: What each socket is still to be told: frames by order number.
        self._watchers: dict[Subscriber, dict[str, str]] = {}
        #: The numbers of orders that have changed and are still to be read.
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        #: The versions that were told lately, so that no look tells them again.
        self._told: dict[str, int] = {}
        self._database = DatabaseThreads("board")
        self._tasks: list[asyncio.Task[None]] = []
        self._open = 0
        self._joined = asyncio.Event()

    async def admits(self, user_id: int) -> bool:
        """Whether the user may watch; raises `DatabaseError`."""
        return await self._database.run(_may_watch, user_id)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hear of changes while the context lasts. It begins before the greeting, so that nothing falls in between."""
        self._open += 1
        if not self._tasks:
            for work in (self._listen, self._tell, self._look):
                self._tasks.append(asyncio.create_task(work(), name=f"board{work.__name__}"))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(JOIN_TIMEOUT):
                    await self._joined.wait()
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._rest()

    @contextmanager
    def watched_by(self, subscriber: Subscriber) -> Iterator[None]:
        """Tell this socket of orders while the context lasts."""
        self._watchers[subscriber] = {}
        try:
            yield
        finally:
            del self._watchers[subscriber]

    async def stop(self) -> None:
        """Called when the last socket is gone."""
        ended = self._rest()
        await asyncio.gather(*ended, return_exceptions=True)
        await self._database.close()

    def _rest(self) -> list[asyncio.Task[None]]:
        """Until somebody watches again; gives the tasks that are about to end."""
        ended, self._tasks = self._tasks, []
        for task in ended:
            task.cancel()
        self._changed.clear()
        self._told.clear()
        return ended

    def _note(self, numbers: list[str]) -> None:
        self._changed.update(numbers)
        self._wake.set()

    async def _listen(self) -> None:
        """Receive what processes announce, for as long as somebody watches."""
        while True:
            try:
                # A channel of its own each time: a layer forgets the one whose `receive` was cancelled.
                channel = await self._layer.new_channel()
                try:
                    await self._layer.group_add(BOARD, channel)
                    self._joined.set()
                    while True:
                        self._note((await self._layer.receive(channel))["keys"])
                finally:
                    self._joined.clear()
                    await self._layer.group_discard(BOARD, channel)
            except Exception as error:  # whatever the layer raises; the look at what was updated goes on
                logger.warning("The board hears nothing from the channel layer: %r", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _look(self) -> None:
        """Every few seconds: what was updated lately and not told, and who may not watch any more."""
        since = timezone.now()
        while True:
            await asyncio.sleep(settings.NOTIFICATION_TAIL_SECONDS)
            looked_at = timezone.now()
            try:
                versions = await self._database.run(_versions_since, since - OVERLAP)
                watching = {subscriber.credential.user_id for subscriber in self._watchers}
                gone = watching - await self._database.run(_who_may_watch, watching)
            except DatabaseError as error:
                logger.warning("The board cannot look for changes: %r", error)
                continue
            since = looked_at
            for subscriber in self._watchers:
                if subscriber.credential.user_id in gone:
                    subscriber.close(CloseCode.NOT_ALLOWED)
            self._told = {number: self._told[number] for number in versions.keys() & self._told.keys()}
            self._note([number for number, version in versions.items() if self._told.get(number) != version])

    async def _tell(self) -> None:
        """Read what has changed and hand it to the outboxes, at most every `PACE` seconds."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            numbers = [self._changed.pop() for _ in range(min(READ_TOGETHER, len(self._changed)))]
            try:
                orders = await self._database.run(_snapshots, numbers)
            except DatabaseError as error:
                logger.warning("The board cannot be read, trying again in %s s: %r", RETRY_SECONDS, error)
                self._note(numbers)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for order in orders:
                frame = protocol.frame("order", order=order)
                self._told[order["number"]] = order["version"]
                for waiting in self._watchers.values():
                    waiting[order["number"]] = frame
            for subscriber, waiting in self._watchers.items():
                _hand_over(subscriber, waiting)
            if self._changed or any(self._watchers.values()):
                self._wake.set()
            await asyncio.sleep(PACE)


def _hand_over(subscriber: Subscriber, waiting: dict[str, str]) -> None:
    """Fill the outbox as far as it goes; what does not fit waits, and is replaced if the order changes again."""
    if subscriber.position is None:
        return  # `welcome` comes first
    for number in list(waiting):
        if not subscriber.outbox.put(waiting[number]):
            return
        del waiting[number]


def _may_watch(user_id: int) -> bool:
    user = get_user_model()._default_manager.filter(pk=user_id, is_active=True).first()
    return user is not None and user.has_perm("orders.view_order")


def _who_may_watch(user_ids: set[int]) -> set[int]:
    return {user_id for user_id in user_ids if _may_watch(user_id)}


def _versions_since(moment: datetime) -> dict[str, int]:
    return dict(orders_changed_since(moment).values_list("number", "version"))


def _snapshots(numbers: list[str]) -> list[dict[str, Any]]:
    return [snapshot(order) for order in orders_numbered(numbers)]


class BoardConsumer(NotificationConsumer):
    """One socket at `/ws/board`. `scope["state"]["board"]` is the server's."""

    async def _follow(self, scope: dict[str, Any]) -> CloseCode | None:
        credential: Credential | CloseCode = scope["credential"]
        self._board: Board = scope["state"]["board"]
        if isinstance(credential, Credential):
            try:
                if not await self._board.admits(credential.user_id):
                    return CloseCode.NOT_ALLOWED
            except DatabaseError:
                return CloseCode.BUSY
            async with self._board.open():
                return await super()._follow(scope)
        return credential

    async def _read(self, subscriber: Subscriber) -> None:
        with self._board.watched_by(subscriber):
            await super()._read(subscriber)
