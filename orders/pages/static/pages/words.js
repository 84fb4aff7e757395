/**
 * Puts orders into words, and times into the reader's zone and language.
 *
 * Used by pages.js and board.js. Writes text into the elements that the server has rendered, found by their `data-slot`;
 * it builds no markup and opens no connection. The words for each status come from the page itself, where the server
 * has put its own table.
 */

const wording = JSON.parse(document.getElementById("wording").textContent);
const DAY = 86_400_000;

// `undefined` is the reader's own language and zone.
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const times = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const days = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dates = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long" });

const UNKNOWN = { label: "Updated", sentence: "", tone: "calm", step: 0 };

/** The words for a status; a status that is newer than this page is told without a word of its own. */
export const wordsFor = (status) => wording[status] ?? UNKNOWN;

/** What a notification says, in a few words. */
export function headline({ kind, order, changed = [] }) {
  if (kind === "order.status_changed") return wordsFor(order.status).label;
  if (kind === "order.created") return "Order placed";
  if (kind === "order.removed") return "Order removed";
  const day = order.estimated_delivery;
  if (kind === "order.delayed") return "Later than planned";
  if (kind === "order.updated" && changed.includes("estimated_delivery") && day) return `New delivery date: ${dates.format(dayOf(day))}`;
  if (kind === "order.message") return "New message";
  return "Details changed";
}

/** Draws a newer state of an order into the element that shows it. */
export function paint(root, order) {
  const words = wordsFor(order.status);
  Object.assign(root.dataset, { version: order.version, tone: words.tone, step: words.step });
  const write = (name, text) => root.querySelectorAll(`[data-slot="${name}"]`).forEach((slot) => (slot.textContent = text));
  const show = (name, visible) => root.querySelectorAll(`[data-slot="${name}"]`).forEach((slot) => (slot.hidden = !visible));
  write("label", words.label);
  write("sentence", words.sentence);
  write("items", order.items.map(({ name, quantity }) => (quantity === 1 ? name : `${quantity} × ${name}`)).join(" · "));
  for (const name of ["carrier", "tracking_number"]) write(name, order[name]);
  show("tracking", order.carrier || order.tracking_number);
  // The server accepts http and https alone; a link here runs no other scheme either.
  const safe = /^https?:/i.test(order.tracking_url);
  show("tracking_url", safe);
  root.querySelectorAll('[data-slot="tracking_url"]').forEach((link) => (link.href = safe ? order.tracking_url : ""));
  root.querySelectorAll('[data-slot="arrival"]').forEach((slot) => {
    slot.dataset.day = order.estimated_delivery ?? "";
  });
  root.querySelectorAll('[data-slot="total"]').forEach((slot) => {
    Object.assign(slot.dataset, { total: order.total ?? "", currency: order.currency });
  });
  localise(root);
}

/** Times, delivery days and amounts below `root`, as this reader writes them. */
export function localise(root = document) {
  for (const element of root.querySelectorAll("time[data-moment]")) {
    const at = new Date(element.dateTime);
    element.textContent = isToday(at) ? `today, ${times.format(at)}` : moments.format(at);
    element.title = at.toISOString();
  }
  for (const element of root.querySelectorAll('[data-slot="arrival"]'))
    element.textContent = arrival(element.dataset.day, element.closest("[data-order]").dataset.tone);
  for (const element of root.querySelectorAll("[data-total]")) {
    const { total, currency } = element.dataset;
    if (total) element.textContent = currency ? amount(total, currency) : total;
  }
}

/** `arriving today`: what an expected day means to who reads it now. */
export function arrival(day, tone, now = new Date()) {
  if (!day || (tone !== "calm" && tone !== "active")) return "";
  const there = dayOf(day);
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  const ahead = Math.round((there - today) / DAY); // A day of 23 or 25 hours is a day.
  if (ahead < 0) return `later than planned: it was expected on ${days.format(there)}`;
  if (ahead === 0) return "arriving today";
  if (ahead === 1) return "arriving tomorrow";
  return `expected ${days.format(there)}`;
}

/** The day `2026-12-01` where the reader is. */
function dayOf(day) {
  const [year, month, date] = day.split("-").map(Number);
  return new Date(year, month - 1, date);
}

function isToday(at) {
  return at.toDateString() === new Date().toDateString();
}

/** `€ 41.80`: an amount with the decimals that the server has written. */
export function amount(total, currency) {
  // The server writes as many decimals as the currency has, and more where the amount has more.
  const digits = total.split(".")[1]?.length ?? 0;
  const decimals = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency, ...decimals }).format(total);
  } catch {
    return `${total} ${currency}`; // Not a code that this browser knows.
  }
}
