"""docs/embed.html and the views of docs/embedding.md, in a Django shop on another origin with its own user model."""

import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Self

import httpx
import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.conftest import OFFLINE, BackOffice, Visit, answered
from tests.browser.test_live import BLOCKED
from tests.conftest import PASSWORD
from tests.deployment import Deployment, Web, machine_environment, run
from tests.polling import apoll
from tests.process import ROOT, Process

# The account that docs/embedding.md tells a shop to make for its back end.
CREATE_TOKEN = re.search(r"^manage.py (create_token .*)", (ROOT / "docs" / "embedding.md").read_text(), re.MULTILINE)


class Shop(Process):
    """The Django project in tests/shop, with the two documents' code in it, in front of that Orderwire."""

    name = "shop"

    def __init__(self, orderwire: Web, token: str) -> None:
        super().__init__()
        self.orderwire = orderwire
        self.token = token

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        return {
            **machine_environment(),
            "DJANGO_SETTINGS_MODULE": "tests.shop.settings",
            "SECRET_KEY": secrets.token_urlsafe(50),
            "SHOP_FOLDER": str(self.folder),
            "ORDERWIRE": self.orderwire.url.removeprefix("http://"),
            "ORDERWIRE_TOKEN": self.token,
        }

    def command(self) -> list[str]:
        return [sys.executable, "-m", "django", "runserver", "--noreload", f"127.0.0.1:{self.port}"]

    def start(self) -> Self:
        make = f"from tests.shop.models import Customer; Customer.objects.create_all({CUSTOMERS}, {PASSWORD!r})"
        for words in (["migrate", "--run-syncdb", "-v0"], ["shell", "-c", make]):
            run(self.environment(), [sys.executable, "-m", "django", *words])
        return super().start()

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/log-in").status_code == 200
        except httpx.TransportError:
            return False


#: alice, as her shop calls her, and somebody who never ordered anything.
CUSTOMERS = CUSTOMER, NEWCOMER = ["alice@example.org", "newcomer@example.org"]


@pytest.fixture(scope="module")
def orderwire(_deploy: Any) -> Iterator[tuple[Deployment, Web, Shop]]:
    """An Orderwire that knows the shop's origin, and the shop, which knows Orderwire's address: ports come first."""
    assert CREATE_TOKEN
    with ExitStack() as stack:
        deployment: Deployment = _deploy(stack)()
        token = deployment.manage(*CREATE_TOKEN[1].split()).strip()
        web = Web(deployment.env)
        shop = Shop(web, token)
        web.env["ALLOWED_ORIGINS"] = shop.url
        stack.enter_context(web)
        stack.enter_context(shop)
        yield deployment, web, shop


@pytest.fixture
def web(orderwire: tuple[Deployment, Web, Shop]) -> Web:
    return orderwire[1]


@pytest.fixture
def deployment(orderwire: tuple[Deployment, Web, Shop]) -> Deployment:
    return orderwire[0]


@pytest.fixture
def shop(orderwire: tuple[Deployment, Web, Shop]) -> str:
    """The shop's address."""
    return orderwire[2].url


async def log_in(page: Page, shop: str, customer: str = CUSTOMER) -> Page:
    """The shop's page, after its log-in; Orderwire has no cookie of theirs."""
    await page.goto(shop)
    await page.locator("[name=username]").fill(customer)
    await page.locator("[name=password]").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Your orders")
    return page


async def test_the_example_page_shows_and_follows_a_customers_orders(shop: str, visit: Visit, office: BackOffice):
    number, bobs = await office.create(CUSTOMER), await office.create("bob")
    alice = await visit("alice")
    page = await log_in(await alice.context.new_page(), shop)
    line = page.get_by_text(f"{number}:")
    await expect(line).to_have_text(f"{number}: pending")
    await expect(page.get_by_role("status")).to_have_text("Live")
    await office.change(bobs, status="shipped")
    await office.change(number, status="out_for_delivery")
    await expect(line).to_have_text(f"{number}: out for delivery")
    newest = await office.create(CUSTOMER)
    await expect(page.get_by_role("listitem").first).to_have_text(f"{newest}: pending")
    await expect(page.get_by_text(bobs)).to_have_count(0)


async def test_the_example_page_comes_back_with_a_fresh_ticket(shop: str, visit: Visit, office: BackOffice):
    number = await office.create(CUSTOMER)
    alice = await visit("alice")
    page = await log_in(await alice.context.new_page(), shop)
    await expect(page.get_by_role("status")).to_have_text("Live")
    alice.provoked = (OFFLINE,)
    await alice.context.set_offline(True)
    await expect(page.get_by_role("status")).to_contain_text("Not live")
    await office.change(number, status="shipped")
    await alice.context.set_offline(False)
    await expect(page.get_by_text(f"{number}:")).to_have_text(f"{number}: shipped")
    await expect(page.get_by_role("status")).to_have_text("Live")
    assert len(alice.sockets) == 2


async def test_a_customer_who_has_not_ordered_yet_follows_too(shop: str, visit: Visit, office: BackOffice):
    newcomer = await visit("newcomer")
    page = await log_in(await newcomer.context.new_page(), shop, NEWCOMER)
    await expect(page.get_by_role("status")).to_have_text("Live")
    number = await office.create(NEWCOMER)
    await expect(page.get_by_text(f"{number}:")).to_have_text(f"{number}: pending")


@pytest.mark.parametrize("blocked", ["WebSockets", "WebSockets and streams"])
async def test_the_example_page_follows_where_they_are_blocked(
    blocked: str, shop: str, visit: Visit, office: BackOffice
):
    number = await office.create(CUSTOMER)
    alice = await visit("alice")
    await alice.context.add_init_script(BLOCKED)
    if "streams" in blocked:
        alice.provoked = ("net::ERR_FAILED",)
        await alice.context.route("**/api/v1/stream*", lambda route: route.abort())
    page = await log_in(await alice.context.new_page(), shop)
    await expect(page.get_by_text(f"{number}:")).to_have_text(f"{number}: pending")
    path = "**/api/v1/notifications?*wait=*" if "streams" in blocked else "**/api/v1/stream*"
    async with page.expect_request(path):
        await expect(page.get_by_role("status")).to_have_text("Live")
    await office.change(number, status="shipped")
    await expect(page.get_by_text(f"{number}:")).to_have_text(f"{number}: shipped")


async def test_the_example_page_is_not_live_before_its_list_is_there(shop: str, visit: Visit, office: BackOffice):
    number = await office.create(CUSTOMER)
    alice = await visit("alice")
    alice.provoked = (answered(502),)
    page = await alice.context.new_page()

    async def fail(route: Route) -> None:
        await route.fulfill(status=502)

    await page.route("**/my-orders", fail)
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))))
    await log_in(page, shop)
    await apoll(lambda: frames, saying="it is connected")
    await expect(page.get_by_role("status")).to_have_text("snapshot: Error: /my-orders answers 502")
    await page.unroute("**/my-orders")
    await expect(page.get_by_text(f"{number}:")).to_have_text(f"{number}: pending")
    await expect(page.get_by_role("status")).to_have_text("Live")


async def test_the_example_page_says_that_its_customer_is_logged_out(shop: str, visit: Visit):
    alice = await visit("alice")
    page = await log_in(await alice.context.new_page(), shop)
    await expect(page.get_by_role("status")).to_have_text("Live")
    await alice.context.clear_cookies(name="sessionid")
    await page.evaluate("dispatchEvent(new Event('offline')), dispatchEvent(new Event('online'))")
    await expect(page.get_by_role("status")).to_contain_text("log in again")
