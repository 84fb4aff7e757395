"""The staff's board in a browser: orders move as they change, and by a click; what is refused is explained."""

import asyncio
from collections.abc import Callable

from playwright.async_api import Locator, Page, Route, expect

from tests.browser.conftest import OFFLINE, BackOffice, Visit, answered, in_state
from tests.browser.test_live import BLOCKED
from tests.conftest import Deploy
from tests.deployment import Web


def card(page: Page, number: str, status: str) -> Locator:
    return page.locator(f'[data-column="{status}"] [data-order="{number}"]')


async def board(visit: Visit, path: str = "/board") -> Page:
    staff = await visit("staff")
    await staff.log_in()
    return await staff.open(path)


async def test_an_order_moves_to_the_column_of_its_new_status(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    page = await board(visit)
    await expect(card(page, number, "pending")).to_be_visible()
    await office.change(number, status="shipped")
    await expect(card(page, number, "shipped")).to_be_visible()
    await expect(card(page, number, "pending")).to_have_count(0)


async def test_a_new_order_appears_at_the_top_of_its_column(visit: Visit, office: BackOffice):
    page = await board(visit)
    number = await office.create("bob")
    await expect(card(page, number, "pending")).to_contain_text("bob")
    await expect(page.locator('[data-column="pending"] [data-order]').first).to_have_attribute("data-order", number)


async def test_a_click_changes_the_status_and_the_customer_sees_it(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    alice = await visit("alice")
    hers = await alice.log_in()
    await in_state(hers, "live")
    page = await board(visit)
    await card(page, number, "pending").get_by_role("button", name="Processing").click()
    await expect(card(page, number, "processing")).to_be_visible()
    await expect(hers.locator(f'[data-order="{number}"]')).to_contain_text("Being prepared")


async def test_only_the_legal_steps_are_offered(visit: Visit, office: BackOffice):
    number = await office.create("alice", status="out_for_delivery")
    page = await board(visit)
    offered = card(page, number, "out_for_delivery").locator("[data-to]")
    await expect(offered).to_have_text(["Delivered", "Shipped", "Ready for pickup", "Returned"])


async def test_a_refusal_is_explained(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    staff = await visit("staff")
    await staff.log_in()
    page = await staff.open("/board")
    order = page.locator(f'[data-order="{number}"]')
    staff.provoked = (OFFLINE, answered(409))
    await staff.context.set_offline(True)
    await in_state(page, "offline")
    await order.get_by_role("button", name="Processing").click()
    await expect(order.get_by_role("alert")).to_have_text("The server was not reached. Nothing has changed.")
    await staff.context.set_offline(False)
    await in_state(page, "live")
    # No illegal step is ever offered; but a page may be older than the server's lifecycle.
    await order.locator("[data-to]").first.evaluate("button => button.dataset.to = 'returned'")
    await order.get_by_role("button", name="Processing").click()
    await expect(order.get_by_role("alert")).to_contain_text(
        "cannot become returned. It can become: processing, on hold"
    )


async def test_a_click_on_what_has_changed_meanwhile_does_nothing_and_says_so(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    staff = await visit("staff")
    await staff.log_in()
    page = await staff.open("/board")

    async def cancel_first(route: Route) -> None:
        if route.request.method == "PATCH":
            await office.change(number, status="cancelled")
        await route.continue_()

    staff.provoked = (answered(412),)
    # The click overtakes the news: the order is cancelled while the request is on its way.
    await page.route(f"**/api/v1/orders/{number}", cancel_first)
    await card(page, number, "pending").get_by_role("button", name="Processing").click()
    await expect(card(page, number, "cancelled").get_by_role("alert")).to_contain_text("is cancelled now")


async def test_a_refusal_is_told_on_a_card_that_was_read_anew_since_the_click(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    staff = await visit("staff")
    await staff.log_in()
    staff.provoked = (answered(412),)
    changed = asyncio.Event()

    async def read_late(route: Route) -> None:
        if route.request.resource_type == "fetch":
            await changed.wait()
        await route.continue_()

    # No socket moves the card: the page that is read anew brings another one.
    await staff.context.add_init_script(BLOCKED)
    await staff.context.route("**/board", read_late)
    page = await staff.open("/board")

    async def cancel_first(route: Route) -> None:
        if route.request.method == "PATCH":
            await office.change(number, status="cancelled")
            changed.set()
            await expect(card(page, number, "cancelled")).to_be_visible()
        await route.continue_()

    await page.route(f"**/api/v1/orders/{number}", cancel_first)
    await card(page, number, "pending").get_by_role("button", name="Processing").click()
    await expect(card(page, number, "cancelled").get_by_role("alert")).to_contain_text("is cancelled now")


async def test_typing_filters_and_enter_searches_all_orders(visit: Visit, office: BackOffice):
    wanted, other = await office.create("alice"), await office.create("bob")
    page = await board(visit)
    search = page.get_by_role("searchbox")
    await search.fill(wanted.lower())
    await expect(card(page, other, "pending")).to_be_hidden()
    await expect(card(page, wanted, "pending")).to_be_visible()
    await search.press("Enter")
    await expect(page).to_have_url(f"{page.url.split('/board')[0]}/board?q={wanted.lower()}")
    await in_state(page, "live")
    # In what was found, orders move; what was not asked for stays away.
    await office.change(other, status="shipped")
    await office.change(wanted, status="shipped")
    await expect(card(page, wanted, "shipped")).to_be_visible()
    await expect(page.locator("[data-order]")).to_have_count(1)


async def test_a_board_that_was_offline_is_right_after_it(deploy: Deploy, visit_at: Callable[[Web], Visit]):
    # Nobody looks for what no frame has told: the page itself has to read what it missed.
    deployment = deploy(NOTIFICATION_TAIL_SECONDS="3600")
    web = deployment.web()
    office = BackOffice(deployment, web)
    number = await office.create("alice")
    staff = await visit_at(web)("staff")
    await staff.log_in()
    page = await staff.open("/board")
    staff.provoked = (OFFLINE,)
    await staff.context.set_offline(True)
    await in_state(page, "offline")
    await office.change(number, status="shipped")
    await staff.context.set_offline(False)
    await expect(card(page, number, "shipped")).to_be_visible()
    await office.close()


async def test_an_order_that_is_deleted_leaves_the_board(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    page = await board(visit)
    await expect(page.locator(f'[data-order="{number}"]')).to_be_visible()
    await office.delete(number)
    await expect(page.locator(f'[data-order="{number}"]')).to_have_count(0)


async def test_staff_watch_a_customers_order_page_move(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    page = await board(visit, f"/orders/{number}")
    await office.change(number, status="shipped", notify=False)
    await expect(page.get_by_role("heading", level=1)).to_have_text("On its way")
    await expect(page.locator("[data-timeline] li").last).to_contain_text("On its way")
