/**
 * The page's connection: one `Orderwire` feed, and what every page says of it: its state, the bell's count, its end.
 *
 * Used by pages.js and board.js, which listen to `feed` for what they show. Which socket it is, whose page this is and
 * the position it was read at, the server has written into the page.
 */

import { Orderwire } from "../orderwire/orderwire.js";
import { say, showState } from "./announce.js";

/** A page is read anew within this time, at random: one batch may change what thousands of people look at. */
export const SPREAD_MS = 1_000;

const { user, stream, head, unread, socket } = document.body.dataset;
const title = document.title;
let welcomed = false;

/** Which versions of orders the page shows. */
export const versions = () =>
  [...document.querySelectorAll("[data-order]")].map(({ dataset }) => ({ number: dataset.order, version: Number(dataset.version) }));

/** The page as the server has it now; nothing, and a reload, if it is another page: logged out meanwhile. Throws. */
export async function readAnew() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected) return location.reload();
  if (!answer.ok) throw new Error(answer.statusText);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

/** The page itself is the snapshot that follows a reset. */
async function snapshot() {
  await new Promise((resolve) => setTimeout(resolve, Math.random() * SPREAD_MS));
  const page = await readAnew();
  if (!page) return null;
  const { stream, head, unread } = page.body.dataset;
  return { stream, head: Number(head), unread: Number(unread), page };
}

export const feed = new Orderwire({
  url: socket, user, stream, after: Number(head), orders: versions(), snapshot,
  csrf: () => document.querySelector("[name=csrfmiddlewaretoken]").value,
});

showUnread(Number(unread));
showState(feed.state);

for (const type of ["welcome", "notification", "read", "snapshot"]) feed.addEventListener(type, () => showUnread(feed.unread));
feed.addEventListener("welcome", () => (welcomed = true));
feed.addEventListener("state", ({ detail: { state, code } }) => (state === "stopped" ? stopped(code) : showState(state)));

function showUnread(count) {
  if (count == null) return;
  const badge = document.querySelector("[data-unread-count]");
  const unseen = Object.assign(document.createElement("span"), { className: "unseen", textContent: " unread" });
  badge.hidden = !count;
  badge.replaceChildren(count > 99 ? "99+" : `${count}`, unseen);
  document.title = count ? `(${count}) ${title}` : title;
}

function stopped(code) {
  showState("stopped");
  // Logged out, or somebody else logged in, in another tab: the server decides what this page may show now.
  if (welcomed && [4500, 4502, "another_user"].includes(code)) return location.reload();
  const sentence = code === 4503
    ? "Too many windows are open, so this one does not update by itself."
    : "This page does not update by itself any more.";
  say(sentence, "down", { href: location.href, text: "Reload it" });
}
