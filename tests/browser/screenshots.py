"""`make screenshots`: the pictures of the README, taken of the demo on the embedded default.

Not a test. Each picture is what a person would see: an order moves, the toast comes, and then the shutter.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

import django

# The tests' own helpers are used, and the cast among them is made of models.
os.environ |= {"DEBUG": "1", "DJANGO_SETTINGS_MODULE": "config.settings"}
django.setup()

from playwright.async_api import Browser, Page, async_playwright, expect  # noqa: E402

from tests.browser.conftest import BackOffice, Person, in_state  # noqa: E402
from tests.conftest import CHROMIUM_FLAGS  # noqa: E402
from tests.deployment import Deployment, Web, make_template  # noqa: E402
from tests.process import ROOT  # noqa: E402

IMAGES = ROOT / "docs" / "images"

Scheme = Literal["light", "dark"]


async def person(browser: Browser, web: Web, name: str, width: int, height: int, scheme: Scheme) -> Person:
    context = await browser.new_context(
        base_url=web.url,
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="Europe/London",
    )
    return Person(context, name)


async def shoot(page: Page, name: str) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=IMAGES / f"{name}.png")
    sys.stdout.write(f"docs/images/{name}.png\n")


async def take(browser: Browser, deployment: Deployment, web: Web) -> None:
    office = BackOffice(deployment, web)
    alice = await person(browser, web, "alice", 860, 720, "light")
    page = await alice.log_in()
    await in_state(page, "live")
    await office.change("SO-1001", status="shipped", carrier="DHL", note="In one parcel.")
    await expect(page.locator(".toast")).to_be_visible()
    await shoot(page, "orders")

    phone = await person(browser, web, "alice", 390, 780, "dark")
    await phone.log_in()
    page = await phone.open("/orders/SO-1002")
    await shoot(page, "order-dark")

    staff = await person(browser, web, "staff", 1280, 620, "light")
    await staff.log_in()
    page = await staff.open("/board")
    await page.locator('[data-order="SO-1005"] summary').click()
    await shoot(page, "board")
    await office.close()


async def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("An installed Chromium is needed.")
    with tempfile.TemporaryDirectory() as folder:
        template = f"sqlite:///{Path(folder) / 'template.sqlite3'}"
        make_template(template)
        with Deployment(template=template, server=None) as deployment:
            web = deployment.web()
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
                await take(browser, deployment, web)
                await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
