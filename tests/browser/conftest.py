"""People in front of a browser, and the shop's back office that changes their orders over HTTP."""

import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.conftest import PASSWORD, Deploy
from tests.deployment import Deployment, Web
from tests.polling import PATIENCE

# What a test of this folder waits for arrives in milliseconds; only a test that has failed waits this long.
expect.set_options(timeout=PATIENCE * 1000)

_numbers = itertools.count(1)


HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of this folder share one event loop, as they share one Chromium: Playwright belongs to a loop."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


class BackOffice:
    """Creates and changes orders over the API, as staff."""

    def __init__(self, deployment: Deployment, web: Web) -> None:
        token = deployment.token("staff")
        self._http = httpx.AsyncClient(base_url=web.url, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE)

    async def create(self, customer: str, **fields: Any) -> str:
        """The number of a new order of that customer."""
        number: str = fields.pop("number", f"T-{os.getpid()}-{next(_numbers)}")
        items = [{"sku": "CUP-07", "name": "Espresso cup", "quantity": 4}]
        body = {"number": number, "customer": customer, "items": items, "currency": "EUR", "total": "38.40", **fields}
        answer = await self._http.post("/api/v1/orders", json=body)
        assert answer.status_code == 201, answer.text
        return number

    async def change(self, number: str, **fields: Any) -> dict[str, Any]:
        """The order after a PATCH of those fields."""
        answer = await self._http.patch(f"/api/v1/orders/{quote(number, safe='')}", json=fields)
        assert answer.status_code == 200, answer.text
        order: dict[str, Any] = answer.json()
        return order

    async def say(self, number: str, text: str) -> None:
        """Write about an order."""
        answer = await self._http.post(f"/api/v1/orders/{quote(number, safe='')}/messages", json={"text": text})
        assert answer.status_code == 201, answer.text

    async def delete(self, number: str) -> None:
        answer = await self._http.delete(f"/api/v1/orders/{quote(number, safe='')}")
        assert answer.status_code == 204, answer.text

    async def close(self) -> None:
        await self._http.aclose()


# What Chromium itself logs when a page asks for something, while its context is offline or its server is down.
OFFLINE = "net::ERR_INTERNET_DISCONNECTED"
SERVER_DOWN = ("net::ERR_CONNECTION_REFUSED", "net::ERR_CONNECTION_RESET", "net::ERR_EMPTY_RESPONSE", "net::ERR_SOCKET")


def answered(status: int) -> str:
    """What Chromium logs of an answer with that status."""
    return f"the server responded with a status of {status}"


class Person:
    """Somebody's browser, logged in: its tabs share cookies and storage, as a person's do.

    `errors` is what scripts threw and what the console showed as an error. `provoked` are parts of those that a test
    brings about on purpose, whenever they come: a page that is offline may try again at the very end.
    """

    def __init__(self, context: BrowserContext, name: str) -> None:
        self.context = context
        self.name = name
        self.errors: list[str] = []
        self.provoked: tuple[str, ...] = ()
        self.sockets: list[str] = []
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("console", self._heard)
        context.on("page", lambda page: page.on("websocket", lambda socket: self.sockets.append(socket.url)))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def unprovoked_errors(self) -> list[str]:
        return [error for error in self.errors if not any(part in error for part in self.provoked)]

    async def log_in(self) -> Page:
        page = await self.context.new_page()
        await page.goto("/login")
        await page.get_by_label("User name").fill(self.name)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Your orders")
        return page

    async def open(self, path: str, *, state: str = "live") -> Page:
        """A further tab at that path, its connection in that state."""
        page = await self.context.new_page()
        await page.goto(path)
        await in_state(page, state)
        return page


async def in_state(page: Page, state: str) -> None:
    """Wait until the page says that its connection is in that state."""
    await expect(page.locator("[data-connection]")).to_have_attribute("data-state", state)


class Visit(Protocol):
    def __call__(self, name: str, **options: Any) -> Awaitable[Person]: ...


@pytest.fixture
def own_web(deploy: Deploy) -> tuple[Deployment, Web]:
    """A deployment of the test's own: for tests that count, or that break it."""
    deployment = deploy()
    return deployment, deployment.web()


@pytest_asyncio.fixture(loop_scope="session")
async def visit_at(browser: Browser) -> AsyncIterator[Callable[[Web], Visit]]:
    """Makes people of a given web process; whatever their consoles show as an error fails the test at its end."""
    people: list[Person] = []
    async with AsyncExitStack() as stack:

        def at(web: Web) -> Visit:
            async def visit(name: str, **options: Any) -> Person:
                context = await browser.new_context(base_url=web.url, **options)
                stack.push_async_callback(context.close)
                person = Person(context, name)
                people.append(person)
                return person

            return visit

        yield at
    assert [error for person in people for error in person.unprovoked_errors()] == []


@pytest.fixture
def visit(visit_at: Callable[[Web], Visit], web: Web) -> Visit:
    """Makes people of the shared deployment: `alice = await visit("alice")`."""
    return visit_at(web)


@pytest_asyncio.fixture(loop_scope="session")
async def office(deployment: Deployment, web: Web) -> AsyncIterator[BackOffice]:
    """The shared deployment's back office."""
    opened = BackOffice(deployment, web)
    yield opened
    await opened.close()
