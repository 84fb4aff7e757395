/**
 * The staff's board: every order in the column of its status, moved as it happens, and by a click.
 *
 * It is best effort between two connects and exact after each: then the page is read anew. Which steps are offered is
 * the lifecycle's table, which the server has put into the page; whether one is taken is the API's decision, and a
 * refusal is told in its words.
 */

import { feed } from "./feed.js";
import { afterRefresh, refresh } from "./refresh.js";
import { localise, paint, wordsFor } from "./words.js";

/** Server-sent events and long polling carry no board: without a socket it is read anew this often. */
const WITHOUT_SOCKET_MS = 10_000;

const steps = JSON.parse(document.getElementById("steps").textContent);
const blank = document.getElementById("board-card").content.firstElementChild;
const board = document.querySelector("[data-live]");
const search = document.getElementById("q");
/** The newest state of each order that was heard of: a page that was read before it must not undo it. */
const heard = new Map();

const cards = () => [...board.querySelectorAll("[data-order]")];
const cardOf = (number) => cards().find(({ dataset }) => dataset.order === number);

localise();
dress();
afterRefresh(() => {
  dress();
  document.querySelectorAll("[data-waiting] [data-waiting-count]").forEach((count) => (count.textContent = board.dataset.waitingCount));
  for (const order of heard.values()) place(order);
  filter();
});

feed.addEventListener("welcome", () => refresh(0));
feed.addEventListener("order", ({ detail: { order } }) => take(order));
setInterval(() => feed.state === "live" && feed.transport !== "websocket" && refresh(0), WITHOUT_SOCKET_MS);
search.addEventListener("input", filter);

board.addEventListener("click", (event) => {
  const button = event.target.closest("[data-to]");
  if (button) change(button.closest("[data-order]"), button.dataset.to);
});

feed.addEventListener("removed", ({ detail: { number } }) => {
  heard.set(number, { number, version: 0 }); // Its number may come again.
  cardOf(number)?.remove();
  filter();
});

function take(order) {
  if (order.version < (heard.get(order.number)?.version ?? 0)) return;
  heard.set(order.number, order);
  place(order);
  filter();
}

/** Somebody wrote about an order: it waits for an answer, or does so no more. */
feed.addEventListener("message", ({ detail: { order, side } }) => {
  const waits = side === "customer" ? "yes" : "";
  const card = cardOf(order);
  if (card?.dataset.waits === waits) return;
  if (card) mark(card, waits);
  refresh(); // For the count, and for a card that stands nowhere yet.
});

function mark(card, waits) {
  card.dataset.waits = waits;
  const sign = card.querySelector('[data-slot="waits"]');
  if (sign) sign.hidden = !waits;
}

/** Shows an order's state, in its column; a card that is newer already stays as it is. */
function place(order) {
  let card = cardOf(order.number);
  if (!order.version) return card?.remove(); // It is gone, and the page was read before that.
  if (card && Number(card.dataset.version) >= order.version) return;
  if (!card && !belongs(order)) return;
  const from = card?.dataset.status;
  card ??= blank.cloneNode(true);
  Object.assign(card.dataset, { order: order.number, status: order.status, placed: order.placed_at });
  const link = card.querySelector('[data-slot="number"]');
  link.textContent = order.number;
  link.href = `/orders/${encodeURIComponent(order.number)}`;
  card.querySelectorAll('[data-slot="answer"]').forEach((answer) => (answer.href = `${link.href}#conversation`));
  card.querySelector('[data-slot="customer"]').textContent = order.customer;
  card.querySelector('[data-slot="status_since"]').dateTime = order.status_since;
  paint(card, order);
  offer(card);
  card.querySelector("[data-problem]").hidden = true;
  if (from === order.status) return;
  const list = board.querySelector(`[data-column="${CSS.escape(order.status)}"] [data-cards]`);
  if (!list) return refresh(); // A status that is newer than this page.
  const hadFocus = card.contains(document.activeElement);
  const placed = Date.parse(order.placed_at);
  list.insertBefore(card, [...list.children].find((other) => Date.parse(other.dataset.placed) < placed) ?? null);
  if (hadFocus) link.focus();
  card.classList.add("moved");
  setTimeout(() => card.classList.remove("moved"), 2_000);
}

/** In the results of a search only what it finds may appear, by the same fields. */
function belongs(order) {
  if (board.hasAttribute("data-only-waiting")) return false; // Whether it waits, the page that is read anew says.
  return matches(board.dataset.search, order.number, order.customer, order.tracking_number);
}

/** As the server looks for it: in the spelling that numbers and names are kept in. */
function matches(text, ...fields) {
  const wanted = text.trim().normalize().toLowerCase();
  return fields.some((field) => field?.toLowerCase().includes(wanted));
}

/** While somebody types, the cards that are here are filtered; Enter asks the server for all others. */
function filter() {
  for (const card of cards()) {
    const text = search.value === board.dataset.search ? "" : search.value;
    card.hidden = !matches(text, card.textContent);
  }
  for (const column of board.querySelectorAll("[data-column]")) {
    const shown = column.querySelectorAll("[data-order]:not([hidden])").length;
    const { limit } = column.querySelector("[data-cards]").dataset;
    column.querySelector("[data-column-count]").textContent = shown >= Number(limit) ? `${shown}+` : `${shown}`;
  }
}

function dress() {
  for (const card of cards()) if (!card.querySelector("[data-to]")) offer(card);
}

/** The usual next step as a button, and the other legal ones behind "More". */
function offer(card) {
  if (!board.hasAttribute("data-may-change")) return;
  const { status, order } = card.dataset;
  const allowed = steps[status]?.allowed ?? [];
  const usual = wordsFor(status).following;
  const button = (to) => {
    const made = document.createElement("button");
    made.type = "button";
    made.dataset.to = to;
    made.textContent = steps[to].label;
    made.ariaLabel = `${steps[to].label}: order ${order}`;
    return made;
  };
  const others = allowed.filter((to) => to !== usual);
  const made = allowed.includes(usual) ? [button(usual)] : [];
  if (others.length) {
    const more = document.createElement("details");
    const summary = Object.assign(document.createElement("summary"), { textContent: "More" });
    summary.ariaLabel = `More steps for order ${order}`;
    const list = document.createElement("div");
    list.append(...others.map(button));
    more.append(summary, list);
    made.push(more);
  }
  card.querySelector("[data-steps]").replaceChildren(...made);
}

/** Takes a step from the state that the card shows; if the order has left it, its new state is shown instead. */
async function change(card, to) {
  const { order, version } = card.dataset;
  const path = `/api/v1/orders/${encodeURIComponent(order)}`;
  const buttons = [...card.querySelectorAll("button")];
  card.querySelector("[data-problem]").hidden = true;
  buttons.forEach((button) => (button.disabled = true));
  try {
    const answer = await fetch(path, {
      method: "PATCH",
      headers: {
        "Content-Type": "application/json",
        "If-Match": `"${version}"`,
        "X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken]").value,
      },
      body: JSON.stringify({ status: to }),
    });
    if (answer.status === 412) {
      const now = await (await fetch(path)).json();
      take(now);
      return tell(order, `It was changed just before and is ${named(now.status)} now. Your click has done nothing.`);
    }
    const body = await answer.json();
    if (answer.ok) take(body);
    else explain(order, body);
  } catch {
    tell(order, "The server was not reached. Nothing has changed.");
  } finally {
    buttons.forEach((button) => (button.disabled = false));
  }
}

const named = (status) => steps[status]?.label.toLowerCase() ?? status;

function explain(order, { detail, allowed }) {
  const possible = allowed?.map(named);
  const sentence = possible?.length ? ` It can become: ${possible.join(", ")}.` : allowed ? " Nothing can follow any more." : "";
  tell(order, `${detail}${sentence}`);
}

/** On the card as it is now: the page may have been read anew since the click. */
function tell(order, sentence) {
  const problem = cardOf(order)?.querySelector("[data-problem]");
  if (!problem) return;
  problem.textContent = sentence;
  problem.hidden = false;
}
