"""A page with the browser's own `EventSource` and no code of ours: it comes back by itself and misses nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.browser.conftest import BackOffice, Person
from tests.deployment import Deployment, Web, make_template
from tests.faults.network import Network
from tests.polling import apoll
from tests.servers import Postgres, create_database

FOLLOW = """() => {
    window.frames_ = [];
    const source = new EventSource("/api/v1/stream");
    source.onmessage = (event) => window.frames_.push(JSON.parse(event.data));
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) window.frames_.push({type: "over"}); };
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def postgres() -> AsyncIterator[Postgres]:
    """A PostgreSQL that nobody else uses, running again at the end."""
    with Postgres() as server:
        yield server
        await asyncio.to_thread(lambda: server.running or server.start())


@pytest.fixture
def shop(postgres: Postgres) -> Any:
    """A deployment on it."""
    template = create_database(postgres.url)
    make_template(template)
    with Deployment(template=template, server=postgres.url) as deployment:
        yield deployment
        if not postgres.running:
            postgres.start()


async def test_a_page_that_saw_only_the_welcome_misses_nothing_however_its_connection_is_lost(
    browser: Browser, shop: Deployment, postgres: Postgres
):
    """First its network is cut; then again, and PostgreSQL is away when it comes back.

    Where `welcome` has no id, what was changed meanwhile never comes. Where the answer is 503 while PostgreSQL is away,
    the `EventSource` is over for good.
    """
    web = shop.web()
    office = BackOffice(shop, web)
    number = await office.create("alice")
    async with Network(web.port) as network, await browser.new_context(base_url=network.url) as context:
        page = await Person(context, "alice").log_in()
        await begin(page)
        network.cut()
        await office.change(number, carrier="DHL")
        network.restore()
        [missed] = await seen(page, "notification", 1)
        assert missed["order"]["carrier"] == "DHL"

        await begin(page)
        await asyncio.to_thread(postgres.stop)
        network.cut()
        network.restore()
        assert (await seen(page, "close", 1))[0]["code"] == 4004
        await asyncio.to_thread(postgres.start)
        await changed(shop, web, number, carrier="UPS")
        [next_one] = await seen(page, "notification", 1)
        assert (next_one["order"]["carrier"], next_one["seq"]) == ("UPS", missed["seq"] + 1)
    await office.close()


async def begin(page: Page) -> None:
    """A page of the shop's without a script of ours, whose `EventSource` has seen the welcome and nothing more."""
    await page.goto("/healthz")
    await page.evaluate(FOLLOW)
    assert [frame["type"] for frame in await seen(page, "welcome", 1)] == ["welcome"]


async def changed(shop: Deployment, web: Web, number: str, **fields: Any) -> None:
    """Change an order as soon as the database is back: a 503 may be tried again."""
    async with httpx.AsyncClient(base_url=web.url, headers={"Authorization": f"Bearer {shop.token('staff')}"}) as http:

        async def done() -> bool:
            return (await http.patch(f"/api/v1/orders/{number}", json=fields)).status_code == 200

        await apoll(done, every=0.1, saying=web.log_tail)


async def seen(page: Page, kind: str, number: int) -> list[dict[str, Any]]:
    """All frames of a type, as soon as the page has so many of them."""

    async def enough() -> list[dict[str, Any]]:
        frames: list[dict[str, Any]] = await page.evaluate("() => window.frames_")
        assert {"type": "over"} not in frames, "the EventSource is over for good"
        some = [frame for frame in frames if frame["type"] == kind]
        return some if len(some) >= number else []

    return await apoll(enough, every=0.1, within=40, saying=f"{number} of type {kind}")
