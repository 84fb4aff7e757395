"""docs/embed.html, served by a shop on another origin whose back end mints the tickets."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from playwright.async_api import Route, expect

from tests.browser.conftest import OFFLINE, BackOffice, Visit, answered
from tests.browser.test_live import BLOCKED
from tests.deployment import Deployment, Web
from tests.polling import PATIENCE, apoll
from tests.process import ROOT

EXAMPLE = (ROOT / "docs" / "embed.html").read_text()


# The account that docs/embedding.md tells a shop to make for its back end, with no other permission.
BACK_END = """
from django.contrib.auth.models import Permission, User
user, _ = User.objects.get_or_create(username="back-end")
user.user_permissions.set(Permission.objects.filter(codename__in=["issue_ticket", "view_order"]))
"""


class ShopHandler(BaseHTTPRequestHandler):
    """What every shop has: a log-in, and answers."""

    def is_logged_out(self) -> bool:
        return "logged-out" in self.headers.get("Cookie", "")

    def to_log_in(self) -> None:
        """What `@login_required` answers, to a fetch as well."""
        self.send_response(302)
        self.send_header("Location", "/log-in")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A test's shop keeps no log."""


@pytest.fixture
def shop(deployment: Deployment, web: Web) -> Iterator[str]:
    """The URL of a shop in which alice is logged in: the page, and the two routes that docs/embedding.md asks for."""
    page = EXAMPLE.replace("https://orderwire.example", web.url).encode()
    deployment.manage("shell", "-c", BACK_END)
    orderwire = httpx.Client(
        base_url=f"{web.url}/api/v1",
        headers={"Authorization": f"Bearer {deployment.token('back-end')}"},
        timeout=PATIENCE,
    )

    class Shop(ShopHandler):
        def do_GET(self) -> None:
            if self.path == "/my-orders" and self.is_logged_out():
                self.to_log_in()
            elif self.path == "/my-orders":
                answer = orderwire.get("/orders", params={"customer": "alice"}).raise_for_status()
                self.answer(json.dumps(answer.json()["results"]).encode(), "application/json")
            elif self.path == "/":
                self.answer(page, "text/html")
            else:
                self.answer(b"", "image/x-icon")  # Browsers ask for an icon.

        def do_POST(self) -> None:
            if self.is_logged_out():
                self.to_log_in()
                return
            answer = orderwire.post("/tickets", json={"customer": "alice"}).raise_for_status()
            self.answer(answer.content, "application/json")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
    orderwire.close()


async def test_the_example_page_shows_and_follows_a_customers_orders(shop: str, visit: Visit, office: BackOffice):
    number, bobs = await office.create("alice"), await office.create("bob")
    alice = await visit("alice")  # Logged in at the shop; Orderwire has no cookie of hers.
    page = await alice.context.new_page()
    await page.goto(shop)
    line = page.get_by_text(f"{number}:")
    await expect(line).to_have_text(f"{number}: pending")
    await expect(page.get_by_role("status")).to_have_text("Live")
    await office.change(bobs, status="shipped")
    await office.change(number, status="out_for_delivery")
    await expect(line).to_have_text(f"{number}: out for delivery")
    newest = await office.create("alice")
    await expect(page.get_by_role("listitem").first).to_have_text(f"{newest}: pending")
    await expect(page.get_by_text(bobs)).to_have_count(0)


async def test_the_example_page_comes_back_with_a_fresh_ticket(shop: str, visit: Visit, office: BackOffice):
    number = await office.create("alice")
    alice = await visit("alice")
    page = await alice.context.new_page()
    await page.goto(shop)
    await expect(page.get_by_role("status")).to_have_text("Live")
    alice.provoked = (OFFLINE,)
    await alice.context.set_offline(True)
    await expect(page.get_by_role("status")).to_contain_text("Not live")
    await office.change(number, status="shipped")
    await alice.context.set_offline(False)
    await expect(page.get_by_text(f"{number}:")).to_have_text(f"{number}: shipped")
    await expect(page.get_by_role("status")).to_have_text("Live")
    assert len(alice.sockets) == 2


async def test_the_example_page_shows_the_orders_also_where_no_socket_opens(
    shop: str, visit: Visit, office: BackOffice
):
    number = await office.create("alice")
    alice = await visit("alice")
    await alice.context.add_init_script(BLOCKED)
    page = await alice.context.new_page()
    await page.goto(shop)
    await expect(page.get_by_text(f"{number}:")).to_have_text(f"{number}: pending")
    # The developer of the page reads what is wrong.
    await expect(page.get_by_role("status")).to_contain_text("no WebSocket opens at")


async def test_the_example_page_is_not_live_before_its_list_is_there(shop: str, visit: Visit, office: BackOffice):
    number = await office.create("alice")
    alice = await visit("alice")
    alice.provoked = (answered(502),)
    page = await alice.context.new_page()

    async def fail(route: Route) -> None:
        await route.fulfill(status=502)

    await page.route("**/my-orders", fail)
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))))
    await page.goto(shop)
    await apoll(lambda: frames, saying="it is connected")
    await expect(page.get_by_role("status")).to_have_text("Not live: the orders are on their way")
    await page.unroute("**/my-orders")
    await expect(page.get_by_text(f"{number}:")).to_have_text(f"{number}: pending")
    await expect(page.get_by_role("status")).to_have_text("Live")


async def test_the_example_page_says_that_its_customer_is_logged_out(shop: str, visit: Visit):
    alice = await visit("alice")
    await alice.context.add_cookies([{"name": "logged-out", "value": "1", "url": shop}])
    page = await alice.context.new_page()
    await page.goto(shop)
    await expect(page.get_by_role("status")).to_contain_text("log in again")
    assert alice.sockets == []
