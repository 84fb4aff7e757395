"""Layers, hubs and hints for the tests of delivery.

Where only a hint can bring a notification, the tail check is switched off by an interval that no test lives to see.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer
from django.contrib.auth.models import User
from django.db import connection

from config.connections import libpq_parameters
from notifications.delivery.hub import Hub
from notifications.hints import publish
from notifications.hints.layers import RedisLayer
from notifications.hints.postgres import PostgresLayer
from notifications.log import stream
from tests.database import EMBEDDED
from tests.notifications.conftest import Database, published_to, running, tell

NEVER = 3600.0
SOON = 0.05


def in_memory() -> Any:
    # As in the settings: one channel serves a whole process, so its capacity is that of all users' hints.
    return InMemoryChannelLayer(capacity=10_000)


def redis_core() -> Any:
    # Its reader blocks for 5 s at a time; redis-py's own limit of 5 s would end it.
    host = {"address": os.environ["REDIS_URL"], "socket_timeout": 15, "socket_connect_timeout": 2}
    return RedisChannelLayer(hosts=[host])


def redis_pubsub() -> Any:
    return RedisLayer(urls=[os.environ["REDIS_URL"]])


def postgres() -> Any:
    return PostgresLayer(libpq_parameters(connection.settings_dict))


LAYERS = [in_memory] if EMBEDDED else [in_memory, redis_core, redis_pubsub, postgres]


@pytest.fixture(params=LAYERS, ids=lambda make: make.__name__)
async def any_layer(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Each kind of layer in turn; hints are published to it."""
    layer = request.param()
    with published_to(layer):
        yield layer
    await layer.flush()


@pytest.fixture
async def layer() -> AsyncIterator[Any]:
    """The in-memory layer, for what does not depend on the kind."""
    layer = in_memory()
    with published_to(layer):
        yield layer


@pytest.fixture
async def hub(layer: Any, database: Database) -> AsyncIterator[Hub]:
    """A hub that only hints reach."""
    async with running(layer, tail_seconds=NEVER) as started:
        yield started


Hint = Callable[..., Awaitable[None]]


@pytest.fixture
def hint(layer: Any, database: Database) -> Hint:
    """Sends the hint that announced those numbers of a user's stream: again, too late, or in another order."""

    async def send(user: User, seqs: Iterable[int], **changed: Any) -> None:
        wanted = list(seqs)
        entries = (await database(stream.read_after, {user.pk: wanted[0] - 1}, limit=len(wanted)))[user.pk]
        uid = (await database(stream.position, user.pk)).uid
        message = publish.Appended(user.pk, uid, entries).message()
        await layer.group_send(publish.group_of(user.pk), {**message, **changed})

    return send


async def tell_unheard(database: Database, user: User, count: int = 1) -> None:
    """Append, and lose the hints."""
    nowhere = InMemoryChannelLayer()
    ear = await nowhere.new_channel()
    await nowhere.group_add(publish.group_of(user.pk), ear)
    with published_to(nowhere):
        for _ in range(count):
            await database(tell, user)
            await nowhere.receive(ear)  # the hint has been sent, to nobody


class ReadsOfTheLog:
    """Counts how often a hub asks the database for entries."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        self.count += " FROM wanted " in sql
        return execute(sql, parameters, many, context)

    @classmethod
    async def of(cls, hub: Hub) -> "ReadsOfTheLog":
        reads = cls()
        await hub._log.database.on_each_thread(lambda: connection.execute_wrappers.append(reads))
        return reads
