/**
 * Keeps the customer's pages up to date: the list of orders, one order, and the updates behind the bell.
 *
 * The page is complete as the server rendered it, with the position it was read at. From there a change is drawn from
 * its notification at once. What no single notification tells (a new order's place in the list, a timeline, whatever a
 * reset left out) is read anew with the whole page.
 */

import { say, toast } from "./announce.js";
import { feed } from "./feed.js";
import { refresh } from "./refresh.js";
import { headline, localise, paint, wordsFor } from "./words.js";

let missed = [];

localise();

feed.addEventListener("state", ({ detail: { state } }) => {
  if (state !== "live") return;
  if (missed.length > 1) toast("While you were away:", `${missed.length} updates`, { href: "/updates" });
  else missed.forEach(announce);
  missed = [];
});

feed.addEventListener("notification", ({ detail }) => {
  const { order, stale } = detail;
  if (!order) return;
  const places = shows(order);
  if (detail.kind === "order.removed") {
    if (!stale) remove(places);
    if (document.querySelector("[data-updates]")) refresh();
    return tellOf(detail);
  }
  // A message changes nothing of what is drawn here; the conversation below it shows it, and reads it out.
  const said = detail.kind === "order.message";
  if (said && conversationShown(order)) return;
  if (said && !document.querySelector("[data-updates]")) return tellOf(detail);
  if (!stale) places.forEach((place) => draw(place, order));
  const isNew = !places.length && document.querySelector("[data-newest]");
  if (isNew || document.querySelector("[data-updates]") || (places.length && document.querySelector("[data-timeline]"))) refresh();
  tellOf(detail);
});

// Staff who look at somebody's order watch it as the board does.
feed.addEventListener("order", ({ detail: { order } }) => {
  for (const place of shows(order)) {
    if (order.version <= place.dataset.version) continue;
    draw(place, order);
    refresh();
  }
});
feed.addEventListener("removed", ({ detail }) => remove(shows(detail)));
if (document.body.dataset.socket === "/ws/board") feed.addEventListener("welcome", () => refresh());

feed.addEventListener("read", () => document.querySelector("[data-updates]") && refresh());

document.querySelector("[data-mark-read]")?.addEventListener("submit", (event) => {
  if (feed.state !== "live") return; // The form goes the ordinary way.
  event.preventDefault();
  feed.markRead(Number(event.target.up_to.value));
  event.target.hidden = true;
});

// "Arriving tomorrow" is wrong after midnight, and a laptop may have slept through it.
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && localise());

function tellOf(detail) {
  if (feed.state === "live") announce(detail);
  else missed.push(detail);
}

const conversationShown = ({ number }) =>
  document.visibilityState === "visible" && document.querySelector("[data-conversation]")?.dataset.conversation === number;

function shows({ number }) {
  return [...document.querySelectorAll("[data-order]")].filter(({ dataset }) => dataset.order === number);
}

/** In a list others move up, which the server knows; of the order's own page nothing is left to be read anew. */
function remove(places) {
  if (!places.length) return;
  if (!document.querySelector("[data-timeline]")) {
    places.forEach((place) => place.remove());
    return refresh();
  }
  places.forEach((place) => (place.hidden = true));
  say("This order is not here any more.", "down", document.querySelector(".back a"));
}

function draw(place, order) {
  paint(place, order);
  place.classList.remove("moved");
  void place.offsetWidth; // Lets the animation begin again.
  place.classList.add("moved");
}

function announce({ kind, order, note, changed }) {
  const { tone } = wordsFor(order.status);
  toast(headline({ kind, order, changed }), `Order ${order.number}${note ? `: ${note}` : ""}`, {
    href: kind === "order.removed" ? "" : `/orders/${encodeURIComponent(order.number)}${kind === "order.message" ? "#conversation" : ""}`,
    tone,
  });
}
