"""A change reaches the page: at once, after a break, in every tab, and only its own customer's."""

from collections.abc import Callable

import pytest
from playwright.async_api import Locator, Page, Route, expect

from tests.browser.conftest import OFFLINE, SERVER_DOWN, BackOffice, Person, Visit, in_state
from tests.deployment import Deployment, Web
from tests.polling import apoll

OwnWeb = tuple[Deployment, Web]


def card(page: Page, number: str) -> Locator:
    return page.locator(f'[data-order="{number}"]')


def unread(page: Page) -> Locator:
    return page.locator("[data-unread-count]")


async def mark(page: Page) -> None:
    """Leave something in the page that a reload would take away."""
    await page.evaluate("window.notReloaded = true")


async def is_the_same_page(page: Page) -> bool:
    return bool(await page.evaluate("window.notReloaded === true"))


async def test_a_status_change_shows_without_a_reload(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    alice = await visit("alice")
    page = await alice.log_in()
    await in_state(page, "live")
    await mark(page)
    await office.change(number, status="shipped", carrier="DHL")
    await expect(card(page, number).get_by_role("heading")).to_contain_text("On its way")
    assert await is_the_same_page(page)


async def test_a_new_order_appears_at_the_top_of_the_list(visit: Visit, office: BackOffice):
    alice = await visit("alice")
    page = await alice.log_in()
    await in_state(page, "live")
    await mark(page)
    number = await office.create("alice")
    await expect(page.locator("[data-order]").first).to_have_attribute("data-order", number)
    assert await is_the_same_page(page)


async def test_an_order_that_is_deleted_vanishes_from_the_list_and_its_own_page_says_so(
    visit: Visit, office: BackOffice
):
    number = await office.create("alice")
    alice = await visit("alice")
    page = await alice.log_in()
    own = await alice.open(f"/orders/{number}")
    await in_state(page, "live")
    await in_state(own, "live")
    await mark(page)
    await office.delete(number)
    await expect(card(page, number)).to_have_count(0)
    await expect(page.get_by_text("Order removed")).to_be_visible()
    await expect(own.get_by_text("This order is not here any more.")).to_be_visible()
    await expect(card(own, number)).to_be_hidden()
    assert await is_the_same_page(page)


async def test_the_timeline_grows_while_the_order_page_is_open(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    alice = await visit("alice")
    await alice.log_in()
    page = await alice.open(f"/orders/{number}")
    await mark(page)
    await office.change(number, status="shipped", note="Two parcels.", tracking_url="https://carrier.example/1")
    await expect(page.get_by_role("heading", level=1)).to_have_text("On its way")
    await expect(page.locator("[data-timeline] li").last).to_contain_text("Two parcels.")
    await expect(page.locator("[data-ahead-steps] li")).to_have_text(["Out for delivery", "Delivered"])
    assert await is_the_same_page(page)


async def test_a_change_is_announced_to_a_screen_reader(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    alice = await visit("alice")
    page = await alice.log_in()
    await in_state(page, "live")
    await office.change(number, status="out_for_delivery")
    # The role makes it a live region: what is added to it is read out.
    toasts = page.get_by_role("log", name="Updates as they arrive")
    await expect(toasts.get_by_text("Out for delivery")).to_be_visible()
    await expect(toasts.get_by_role("link")).to_have_attribute("href", f"/orders/{number}")


async def test_an_order_with_a_number_of_the_shops_own_is_followed_and_opened(visit: Visit, office: BackOffice):
    number = await office.create("alice", number="#INV/2024 Ö?17", currency="KWD", total="12.345")
    alice = await visit("alice")
    page = await alice.log_in()
    await in_state(page, "live")
    await office.change(number, status="out_for_delivery")
    await expect(card(page, number).get_by_role("heading")).to_contain_text("Out for delivery")
    await page.get_by_role("log", name="Updates as they arrive").get_by_role("link").click()
    await expect(page.get_by_text(f"Order {number}", exact=True)).to_be_visible()
    await expect(page.locator("[data-total]")).to_contain_text("12.345")
    await in_state(page, "live")
    await office.change(number, status="delivered")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Delivered")


async def test_another_customers_page_never_moves(visit: Visit, office: BackOffice):
    hers, his = await office.create("alice"), await office.create("bob")
    alice, bob = await visit("alice"), await visit("bob")
    hers_open, his_open = await alice.log_in(), await bob.log_in()
    await in_state(his_open, "live")
    frames: list[str] = []
    his_open.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))))
    await his_open.reload()
    await in_state(his_open, "live")
    await office.change(hers, status="shipped")
    await expect(card(hers_open, hers)).to_contain_text("On its way")
    # His own change comes through the same socket, later: whatever hers had sent him would have arrived before it.
    await office.change(his, status="processing")
    await expect(card(his_open, his)).to_contain_text("Being prepared")
    assert frames
    assert not [frame for frame in frames if hers in frame]
    await expect(card(his_open, hers)).to_have_count(0)


async def test_a_change_while_offline_shows_after_it_and_the_break_is_told_in_words(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    alice = await visit("alice")
    page = await alice.log_in()
    await in_state(page, "live")
    await mark(page)
    alice.provoked = (OFFLINE,)
    await alice.context.set_offline(True)
    await expect(page.locator("[data-notice]")).to_contain_text("The connection is down")
    await office.change(number, status="shipped")
    await alice.context.set_offline(False)
    await expect(card(page, number)).to_contain_text("On its way")
    await expect(page.locator("[data-notice]")).to_contain_text("The connection is back")
    assert await is_the_same_page(page)


async def test_a_page_is_right_after_the_server_was_stopped_while_changes_went_on(
    own_web: OwnWeb, visit_at: Callable[[Web], Visit]
):
    deployment, web = own_web
    office = BackOffice(deployment, web)
    number = await office.create("alice")
    alice = await visit_at(web)("alice")
    page = await alice.log_in()
    await in_state(page, "live")
    await mark(page)
    alice.provoked = SERVER_DOWN
    for status in ("processing", "shipped"):
        web.stop()
        await in_state(page, "offline")
        web.start()
        await office.change(number, status=status)
    await expect(card(page, number)).to_contain_text("On its way")
    await in_state(page, "live")
    assert await is_the_same_page(page)
    await office.close()


async def test_a_page_whose_place_is_lost_is_read_anew_before_it_says_that_it_is_live(
    own_web: OwnWeb, visit_at: Callable[[Web], Visit]
):
    deployment, web = own_web
    office = BackOffice(deployment, web)
    number = await office.create("alice")
    alice = await visit_at(web)("alice")
    page = await alice.log_in()
    await in_state(page, "live")
    await mark(page)
    states: list[str | None] = []

    async def look(route: Route) -> None:
        states.append(await page.locator("[data-connection]").get_attribute("data-state"))
        await route.continue_()

    await page.route(f"{web.url}/", look)
    alice.provoked = (OFFLINE, *SERVER_DOWN)
    await alice.context.set_offline(True)
    await in_state(page, "offline")
    await office.change(number, status="shipped")
    web.stop()
    deployment.manage("restart_streams")
    web.start()
    await alice.context.set_offline(False)
    await in_state(page, "live")
    await expect(card(page, number)).to_contain_text("On its way")
    assert states == ["catching-up"]
    assert await is_the_same_page(page)
    await office.close()


async def test_a_reload_resumes_and_shows_what_happened_in_between(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    alice = await visit("alice")
    page = await alice.log_in()
    await in_state(page, "live")
    await page.goto("about:blank")
    await office.change(number, status="processing")
    await page.goto("/")
    await expect(card(page, number)).to_contain_text("Being prepared")
    await in_state(page, "live")
    await office.change(number, status="shipped")
    await expect(card(page, number)).to_contain_text("On its way")


async def test_three_tabs_share_one_socket_and_lose_nothing_when_its_holder_is_closed(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    alice = await visit("alice")
    first = await alice.log_in()
    await in_state(first, "live")
    others = [await alice.open("/"), await alice.open(f"/orders/{number}")]
    assert len(alice.sockets) == 1
    await first.close()
    await office.change(number, status="shipped")
    for page in others:
        await expect(card(page, number)).to_contain_text("On its way")
    await apoll(lambda: len(alice.sockets) == 2, saying="another tab takes over")


# What a proxy that lets no WebSocket through looks like from inside the page, and one that cuts off event streams too.
BLOCKED = """
window.WebSocket = class {
  constructor() { setTimeout(() => this.onclose?.({ code: 1006 })); }
  close() {}
};
"""
STREAMS_CUT_OFF = """
window.EventSource = class extends EventTarget {
  constructor() { super(); setTimeout(() => this.onerror?.({})); }
  close() {}
};
"""


@pytest.mark.parametrize(
    ("blocked", "request_url"),
    [([BLOCKED], "**/api/v1/stream*"), ([BLOCKED, STREAMS_CUT_OFF], "**/api/v1/notifications?*wait=*")],
    ids=["server-sent events", "long polling"],
)
async def test_where_websockets_are_blocked_plain_http_carries_on(
    visit: Visit, office: BackOffice, blocked: list[str], request_url: str
):
    number = await office.create("alice")
    alice = await visit("alice")
    for script in blocked:
        await alice.context.add_init_script(script)
    page = await alice.log_in()
    async with page.expect_request(request_url):
        await page.reload()
    await in_state(page, "live")
    await office.change(number, status="shipped")
    await expect(card(page, number)).to_contain_text("On its way")
    assert alice.sockets == []


async def test_logging_out_in_one_tab_takes_the_orders_off_all_of_them(visit: Visit):
    alice = await visit("alice")
    first = await alice.log_in()
    await in_state(first, "live")
    others = [await alice.open("/"), await alice.open("/updates")]
    await first.get_by_role("button", name="Log out").click()
    for page in (first, *others):
        await expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    sockets = len(alice.sockets)
    await others[0].get_by_label("User name").fill("alice")
    assert len(alice.sockets) == sockets


async def test_the_bell_counts_the_same_in_all_tabs(own_web: OwnWeb, visit_at: Callable[[Web], Visit]):
    deployment, web = own_web
    office = BackOffice(deployment, web)
    number = await office.create("alice")
    alice = await visit_at(web)("alice")
    first = await alice.log_in()
    before = int((await unread(first).inner_text()).split()[0])
    second = await alice.open("/updates")
    for status in ("processing", "shipped"):
        await office.change(number, status=status)
    for page in (first, second):
        await expect(unread(page)).to_have_text(f"{before + 2} unread")
    await expect(second.locator("[data-updates] li").first).to_contain_text("On its way")
    await second.get_by_role("button", name="Mark all as read").click()
    for page in (first, second):
        await expect(unread(page)).to_be_hidden()
    await expect(second.locator("[data-updates] .unread")).to_have_count(0)
    await first.reload()
    await in_state(first, "live")
    await expect(unread(first)).to_be_hidden()
    await office.close()


@pytest.mark.parametrize(
    ("day", "status", "words"),
    [
        ("2026-03-10", "out_for_delivery", "arriving today"),
        ("2026-03-11", "shipped", "arriving tomorrow"),
        ("2026-03-14", "shipped", "expected Saturday 14 March"),
        ("2026-03-09", "shipped", "later than planned: it was expected on Monday 9 March"),
        ("2026-03-10", "on_hold", ""),
        ("2026-03-10", "delivered", ""),
    ],
)
async def test_the_expected_day_is_told_from_where_the_reader_is(
    visit: Visit, office: BackOffice, day: str, status: str, words: str
):
    number = await office.create("alice", estimated_delivery=day, status=status)
    alice = await visit("alice", locale="en-GB", timezone_id="Pacific/Auckland")
    # 23:30 of the 9th in UTC; in Auckland the 10th has begun.
    await alice.context.clock.set_fixed_time("2026-03-09T23:30:00Z")
    page = await alice.log_in()
    await in_state(page, "live")
    await expect(card(page, number).locator('[data-slot="arrival"]')).to_have_text(words)


async def test_times_are_in_the_readers_zone_and_language(visit: Visit, office: BackOffice):
    number = await office.create("alice", placed_at="2026-01-15T23:30:00Z")
    alice: Person = await visit("alice", locale="de-DE", timezone_id="Europe/Berlin")
    await alice.log_in()
    page = await alice.open(f"/orders/{number}")
    await expect(page.locator('[data-slot="placed_at"]')).to_have_text("16.01.2026, 00:30")
    await expect(page.locator("[data-total]")).to_have_text("38,40 €")
