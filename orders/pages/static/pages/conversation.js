/**
 * The conversation about the order that the page shows: says what is written into the form, and shows what was said.
 *
 * What somebody has said is read over HTTP, whoever tells of it and by whichever transport: a notification, a frame of the
 * board's, or this page's own answer. The form keeps its text until the server has kept it, and its id until the text
 * changes: so nothing is lost by a click too many, and nothing is kept twice.
 */

import { Conversation } from "../orderwire/conversation.js";
import { feed } from "./feed.js";
import { localise } from "./words.js";

/** Somebody who types says so every three seconds: for twice as long it is believed. */
const TYPING_MS = 6_000;
/** Boards come over a socket alone: without one staff look this often. */
const WITHOUT_SOCKET_MS = 10_000;
/** Pages that are read at once to catch up; beyond that the button asks for more. */
const MOST_PAGES = 4;

const panel = document.querySelector("[data-conversation]");
const form = panel.querySelector("[data-say]");
const problem = panel.querySelector("[data-problem]");
const list = panel.querySelector("[data-said]");
const typing = panel.querySelector("[data-typing]");
const earlier = panel.querySelector("[data-earlier]");
const blank = panel.querySelector("[data-message-template]").content.firstElementChild;
const { conversation: number, side, customer } = panel.dataset;
const conversation = new Conversation(feed, number, { csrf: () => form.csrfmiddlewaretoken.value });

let hiding, reading, again, older;
let saying = { text: form.text.value, id: form.client_id.value };

conversation.addEventListener("message", () => {
  typing.hidden = true;
  load();
});
conversation.addEventListener("typing", ({ detail: { who } }) => {
  if (who === side) return;
  typing.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (typing.hidden = true), TYPING_MS);
});
feed.addEventListener("welcome", load);
if (side === "staff") setInterval(() => feed.state === "live" && feed.transport !== "websocket" && load(), WITHOUT_SOCKET_MS);

form.text.addEventListener("input", () => {
  if (form.text.value.trim()) conversation.typing();
});
form.text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  say();
});
earlier.querySelector("button").addEventListener("click", showEarlier);

async function say() {
  const text = form.text.value.trim();
  const button = form.querySelector("button");
  if (!text || button.disabled) return;
  if (text !== saying.text) saying = { text };
  saying.id ||= newId();
  complain("");
  button.disabled = true;
  try {
    await conversation.say(text, saying.id);
    saying = {};
    if (form.text.value.trim() === text) form.text.value = "";
    load();
  } catch ({ code, message }) {
    complain(code ? message : "The server was not reached. Your message is still here: try again.");
  } finally {
    button.disabled = false;
  }
}

const newId = () => [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("");

function complain(sentence) {
  problem.textContent = sentence;
  problem.hidden = !sentence;
}

/** Reads what was said since; once at a time, and once more if something was said meanwhile. */
async function load() {
  if (reading) return (again = true);
  reading = true;
  try {
    let page = await conversation.read();
    for (let pages = 1; ; pages++) {
      const known = page.results.some(({ id }) => shown(id));
      page.results.forEach(show);
      if (known || !page.next || pages === MOST_PAGES) break;
      page = await conversation.read(page.next);
    }
  } catch {
    again = false; // The next welcome, or the next message, reads it all.
  } finally {
    reading = false;
  }
  if (again) load((again = false));
}

async function showEarlier() {
  try {
    // The first time the pages from the newest on, until one goes beyond what the server has rendered.
    let page;
    do {
      page = await conversation.read(older);
      older = page.next ?? undefined;
    } while (older && page.results.every(({ id }) => shown(id)));
    const top = list.firstElementChild;
    page.results.forEach(show);
    earlier.hidden = !older;
    if (earlier.hidden) top?.scrollIntoView({ block: "nearest" });
  } catch {
    complain("The server was not reached. Try again.");
  }
}

const shown = (id) => list.querySelector(`[data-message="${id}"]`);

/** Puts a message where it belongs, if it is not there. It is a text, whatever it looks like. */
function show({ id, side: from, author, text, written_at }) {
  if (shown(id)) return;
  const item = blank.cloneNode(true);
  Object.assign(item.dataset, { message: id, side: from });
  item.querySelector('[data-slot="author"]').textContent = nameOf(from, author);
  item.querySelector('[data-slot="text"]').textContent = text;
  item.querySelector("time").dateTime = written_at;
  localise(item);
  list.insertBefore(item, [...list.children].find(({ dataset }) => Number(dataset.message) > id) ?? null);
}

function nameOf(from, author) {
  if (side === "customer") return from === "customer" ? "You" : "The shop";
  return author ?? (from === "customer" ? customer : "Staff");
}
