"""A customer and the staff talk to each other, each in a browser of their own."""

from typing import Any

from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import BackOffice, Visit, in_state
from tests.browser.test_live import BLOCKED
from tests.browser.test_looks import axe, violations  # noqa: F401  (a fixture)


def said(page: Page) -> Locator:
    return page.locator("[data-said] .text")


async def say(page: Page, words: str, label: str) -> None:
    await page.get_by_label(label).fill(words)
    await page.get_by_role("button", name="Send").click()


async def test_two_people_talk_about_an_order(visit: Visit, office: BackOffice, axe: str):  # noqa: F811
    number = await office.create("alice")
    alice, staff = await visit("alice", reduced_motion="reduce"), await visit("staff", reduced_motion="reduce")
    await alice.log_in()
    hers = await alice.open(f"/orders/{number}")
    await staff.log_in()
    board = await staff.open("/board")
    card = board.locator(f'[data-order="{number}"]')
    waits = card.get_by_role("link", name="Waits for an answer")
    await expect(waits).to_be_hidden()

    # She asks, by keyboard alone, and the board says at once that she waits.
    await hers.get_by_label("Your message").focus()
    await hers.keyboard.type("Where is it? <b>Please</b>")
    await hers.keyboard.press("Control+Enter")
    await expect(said(hers)).to_have_text(["Where is it? <b>Please</b>"])
    await expect(hers.get_by_label("Your message")).to_have_value("")
    await expect(waits).to_be_visible()
    assert await violations(board, axe) == []

    # The staff follow the sign, and she sees that somebody types.
    await waits.click()
    await in_state(board, "live")
    await expect(said(board)).to_have_text(["Where is it? <b>Please</b>"])
    await board.get_by_label("Your answer").press_sequentially("In the van.")
    await expect(hers.get_by_text("We are typing an answer…")).to_be_visible()
    await board.get_by_role("button", name="Send").click()
    await expect(said(hers)).to_have_text(["Where is it? <b>Please</b>", "In the van."])
    await expect(hers.get_by_text("We are typing an answer…")).to_be_hidden()
    for page in (hers, board):
        assert await violations(page, axe) == []

    # Her other window, on another page, is told as of any news; the answer is read out where the conversation is.
    await expect(hers.locator(".toast")).to_have_count(0)
    log = hers.get_by_role("log", name="Questions about this order")
    await expect(log).to_contain_text("The shop")
    await expect(log).not_to_contain_text("staff")
    list_ = await alice.open("/")
    await say(board, "At your door by five.", "Your answer")
    toast = list_.locator(".toast", has_text="At your door by five.")
    await expect(toast).to_contain_text("New message")
    await toast.get_by_role("link").click()
    await expect(said(list_)).to_have_text(["Where is it? <b>Please</b>", "In the van.", "At your door by five."])

    # What is said in one of her windows stands in the other, and with the staff.
    await say(list_, "Thank you", "Your message")
    for page in (list_, hers, board):
        await expect(said(page).last).to_have_text("Thank you")
        await expect(said(page)).to_have_count(4)


async def test_without_websockets_and_with_a_lost_answer_a_message_is_kept_once(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    alice = await visit("alice")
    await alice.context.add_init_script(BLOCKED)
    await alice.log_in()
    page = await alice.open(f"/orders/{number}")
    alice.provoked = ("net::ERR_FAILED",)
    sent = 0

    async def lose_the_first_answer(route: Any) -> None:
        nonlocal sent
        if route.request.method == "POST":
            sent += 1
        answer = await route.fetch()
        await (route.abort() if sent == 1 and route.request.method == "POST" else route.fulfill(response=answer))

    await page.route("**/messages", lose_the_first_answer)
    await say(page, "Where is it?", "Your message")
    await expect(page.get_by_role("alert")).to_contain_text("Your message is still here")
    await page.get_by_role("button", name="Send").click()
    await expect(said(page)).to_have_text(["Where is it?"])
    await expect(page.get_by_label("Your message")).to_have_value("")
    # An answer comes as a notification over server-sent events.
    await office.say(number, "In the van.")
    await expect(said(page)).to_have_text(["Where is it?", "In the van."])
    assert sent == 2


async def test_earlier_messages_are_shown_when_asked_for_and_an_unfinished_one_stays(visit: Visit, office: BackOffice):
    number = await office.create("alice")
    for part in range(60):
        await office.say(number, f"Part {part}")
    alice = await visit("alice")
    await alice.log_in()
    page = await alice.open(f"/orders/{number}")
    await expect(said(page)).to_have_count(50)
    draft = page.get_by_label("Your message")
    await draft.fill("Not yet")
    await page.get_by_role("button", name="Show earlier messages").click()
    await expect(said(page)).to_have_text([f"Part {part}" for part in range(60)])
    await expect(page.get_by_role("button", name="Show earlier messages")).to_be_hidden()
    # The page is read anew when the order changes; what somebody is writing is not.
    await office.change(number, status="shipped")
    await expect(page.get_by_role("heading", level=1)).to_have_text("On its way")
    await expect(draft).to_have_value("Not yet")
    await expect(said(page)).to_have_count(60)
