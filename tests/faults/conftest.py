"""Shops for fault tests: each test breaks its own, and all are copies of one that is stocked once."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Protocol

import pytest

from tests.deployment import Deployment, machine_environment, make_template
from tests.servers import Postgres, create_database, drop_database

# The one check is made of asserts outside of a test file; they too say what they compared.
pytest.register_assert_rewrite("tests.faults.shop")

from tests.faults.shop import Shop, stock  # noqa: E402

#: Under load one token makes more requests than a minute's default; they are counted all the same.
LOADED: dict[str, str | None] = {"API_RATE": "1000000/min"}
#: What carries hints: Redis, or PostgreSQL alone. Settings of a shop.
Carried = dict[str, str | None]
CARRIERS: dict[str, Carried] = {"redis": {}, "alone": {"REDIS_URL": None}}
#: The URL of a database, and API tokens by user.
Stocked = tuple[str, dict[str, str]]

# One line for each request of a load says nothing.
logging.getLogger("httpx").setLevel(logging.WARNING)


@contextmanager
def stocked_copy(template: str, server: str) -> Iterator[Stocked]:
    """A copy of the database of URL `template`, with customers and orders; its URL, and everybody's API tokens."""
    url = create_database(server, template=template)
    try:
        yield url, stock({**machine_environment(), "DEBUG": "1", "DATABASE_URL": url})
    finally:
        drop_database(server, url)


@pytest.fixture(scope="session")
def stocked(template: str) -> Iterator[Stocked]:
    """What every shop is a copy of."""
    with stocked_copy(template, os.environ["DATABASE_URL"]) as copy:
        yield copy


@pytest.fixture(params=CARRIERS.values(), ids=list(CARRIERS))
def carried(request: pytest.FixtureRequest) -> Carried:
    """Settings of a shop whose hints are carried by Redis, and then of one where PostgreSQL carries them."""
    settings: Carried = request.param
    return settings


class OpenShop(Protocol):
    def __call__(self, **settings: str | None) -> Shop: ...


@pytest.fixture
async def open_shop(stocked: Stocked) -> AsyncIterator[OpenShop]:
    """Opens a shop with the given settings, no process of it started yet; closed with the test."""
    shops: list[Shop] = []

    def open_one(**settings: str | None) -> Shop:
        template, tokens = stocked
        deployment = Deployment(template=template, server=os.environ["DATABASE_URL"], **(LOADED | settings))
        shops.append(Shop(deployment, tokens))
        return shops[-1]

    yield open_one
    for shop in shops:
        await shop.close()


@pytest.fixture
async def shop_on_its_own_postgres(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Shop, Postgres]]:
    """A shop whose PostgreSQL nobody else uses; a test's parameter is settings."""
    with Postgres() as postgres:
        template = create_database(postgres.url)
        make_template(template)
        with stocked_copy(template, postgres.url) as (url, tokens):
            shop = Shop(
                Deployment(template=url, server=postgres.url, **(LOADED | getattr(request, "param", {}))), tokens
            )
            yield shop, postgres
            # What a failed test has left broken must not hide why it failed.
            await asyncio.to_thread(lambda: postgres.running or postgres.start())
            await shop.close()
