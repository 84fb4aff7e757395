"""How the pages look and are used: by eye, by keyboard, by screen reader, on small and large screens."""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import OFFLINE, BackOffice, Visit, answered, in_state

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"

PAGES = ["/", "/updates", "/board", "/orders/{number}", "/nowhere"]


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which `make test` installs. Without npm these tests are skipped, except in CI."""
    if AXE.exists():
        return AXE.read_text()
    if os.environ.get("CI"):
        pytest.fail("axe-core is not installed: npm ci --prefix tests/browser")
    pytest.skip("axe-core is not installed: npm ci --prefix tests/browser")


async def violations(page: Page, axe: str) -> list[dict[str, Any]]:
    """What axe-core finds wrong, by rule, with the elements in question."""
    await page.evaluate(axe)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        {"rule": rule["id"], "impact": rule["impact"], "where": [node["html"] for node in rule["nodes"]]}
        for rule in found["violations"]
    ]


async def shown(page: Page, path: str) -> None:
    """Open a page and wait until it is as it stays."""
    await page.goto(path)
    if await page.locator("[data-connection]").count():
        await in_state(page, "live")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_wrong(visit: Visit, office: BackOffice, axe: str, scheme: str):
    number = await office.create("staff", status="shipped", carrier="DHL", tracking_url="https://carrier.example/1")
    staff = await visit("staff", color_scheme=scheme, reduced_motion="reduce")
    staff.provoked = (answered(404),)  # /nowhere
    page = await staff.context.new_page()
    await page.goto("/login")
    assert await violations(page, axe) == []
    await page.close()
    page = await staff.log_in()
    for path in PAGES:
        await shown(page, path.format(number=number))
        if path == "/board":
            await page.locator("summary").first.click()
        if path == "/":
            await office.change(number, status="out_for_delivery", note="At your door by five.")
            await expect(page.locator(".toast")).to_be_visible()
        assert await violations(page, axe) == [], path


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_wrong_while_the_connection_is_down(visit: Visit, axe: str, scheme: str):
    alice = await visit("alice", color_scheme=scheme, reduced_motion="reduce")
    page = await alice.log_in()
    await in_state(page, "live")
    alice.provoked = (OFFLINE,)
    await alice.context.set_offline(True)
    await expect(page.locator("[data-notice]")).to_be_visible()
    assert await violations(page, axe) == []


@pytest.mark.parametrize("width", [320, 768, 2560])
async def test_nothing_is_wider_than_the_screen(visit: Visit, office: BackOffice, width: int):
    number = await office.create("staff", carrier="A carrier with quite a long name", tracking_number="0" * 64)
    staff = await visit("staff", viewport={"width": width, "height": 800})
    staff.provoked = (answered(404),)  # /nowhere
    page = await staff.log_in()
    for path in ["/login", *PAGES]:
        await shown(page, path.format(number=number))
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, path


async def test_an_order_is_reached_by_keyboard_alone_and_the_focus_is_seen(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    alice = await visit("alice")
    page = await alice.context.new_page()
    await page.goto("/login")
    await expect(page.get_by_label("User name")).to_be_focused()
    for typed in ("alice", "demo"):
        await page.keyboard.type(typed)
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await in_state(page, "live")
    link = page.get_by_role("link", name=number)
    while not await link.evaluate("link => link === document.activeElement"):
        await page.keyboard.press("Tab")
        focused = await page.evaluate(
            """() => {
                const element = document.activeElement;
                if (element === document.body) throw new Error("the focus has left the page");
                const outlines = [null, "::after"].map((part) => getComputedStyle(element, part).outlineStyle);
                return outlines.some((style) => style !== "none");
            }"""
        )
        assert focused, await page.evaluate("document.activeElement.outerHTML")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Order received")


async def test_a_refresh_leaves_the_focus_where_it_was(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    alice = await visit("alice")
    page = await alice.log_in()
    await in_state(page, "live")
    await page.get_by_role("link", name=number).focus()
    newer = await office.create("alice")
    await expect(page.locator("[data-order]").first).to_have_attribute("data-order", newer)
    await expect(page.get_by_role("link", name=number)).to_be_focused()


@pytest.mark.parametrize(("wish", "animation"), [("reduce", "none"), ("no-preference", "rise")])
async def test_who_asks_for_no_motion_gets_none(visit: Visit, office: BackOffice, wish: str, animation: str):
    number = await office.create("alice")
    alice = await visit("alice", reduced_motion=wish)
    page = await alice.log_in()
    await in_state(page, "live")
    await office.change(number, status="shipped")
    await expect(page.locator(".toast")).to_have_css("animation-name", animation)


async def test_pages_are_whole_without_javascript(visit: Visit, office: BackOffice):
    number = await office.create("alice", status="shipped", estimated_delivery="2031-03-01")
    alice = await visit("alice", java_script_enabled=False)
    page = await alice.log_in()
    order = page.locator(f'[data-order="{number}"]')
    await expect(order).to_contain_text("On its way")
    await expect(order).to_contain_text("expected 1 March 2031")
    await expect(order.locator("time")).to_contain_text("UTC")
    await expect(page.locator("[data-connection]")).to_be_hidden()
    await page.get_by_role("link", name=number).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("On its way")
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


async def test_a_wrong_password_is_told_in_words(visit: Visit):
    alice = await visit("alice")
    page = await alice.context.new_page()
    await page.goto("/login")
    await page.get_by_label("User name").fill("alice")
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_contain_text("correct username and password")
    await expect(page.get_by_label("User name")).to_have_value("alice")
