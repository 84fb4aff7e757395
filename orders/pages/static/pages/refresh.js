/**
 * Reads the page anew and puts what is live in it (`data-live`) in the place of what is there.
 *
 * Used by pages.js and board.js. The page itself is the snapshot: whoever may see it, and how it looks, is decided once,
 * on the server.
 */

import { feed, readAnew, SPREAD_MS, versions } from "./feed.js";
import { localise } from "./words.js";

const RETRY_MS = 5_000;

let waiting;
let swapped = () => {};

/** What else is to be done with the fresh content, once it is in its place. */
export const afterRefresh = (act) => (swapped = act);

/** Soon, and once, however many ask for it. */
export function refresh(wait = Math.random() * SPREAD_MS) {
  waiting ??= setTimeout(async () => {
    waiting = null;
    try {
      const fresh = await readAnew();
      if (!fresh) return;
      const { stream, head } = fresh.body.dataset;
      // A notification has overtaken the snapshot, which must not undo it.
      if (stream === feed.stream && Number(head) < feed.after) return refresh();
      swap(fresh);
    } catch {
      refresh(RETRY_MS * (1 + Math.random()));
    }
  }, wait);
}

feed.addEventListener("snapshot", ({ detail: { page } }) => swap(page));

function swap(fresh) {
  const live = document.querySelector("[data-live]");
  const focused = live.contains(document.activeElement) ? document.activeElement : null;
  const next = fresh.querySelector("[data-live]");
  localise(next);
  // What has not changed stays the element it was: somebody may be about to click it, or read what it says.
  for (const order of next.querySelectorAll("[data-order]")) {
    const here = live.querySelector(`[data-order="${CSS.escape(order.dataset.order)}"]`);
    if (here?.dataset.version === order.dataset.version && here.dataset.waits === order.dataset.waits) order.replaceWith(here);
  }
  // The element stays, and with it whatever is said of it; its state and its content are the snapshot's.
  for (const { name, value } of next.attributes) if (name !== "class") live.setAttribute(name, value);
  live.replaceChildren(...next.childNodes);
  const href = focused?.getAttribute("href");
  if (focused?.isConnected) focused.focus();
  else if (href) live.querySelector(`[href="${CSS.escape(href)}"]`)?.focus();
  const form = document.querySelector("[data-mark-read]");
  const fresher = fresh.querySelector("[data-mark-read]");
  if (form) {
    form.hidden = fresher.hidden;
    form.up_to.value = fresher.up_to.value;
  }
  feed.saw(...versions());
  swapped();
}
