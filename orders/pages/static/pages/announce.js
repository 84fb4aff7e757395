/**
 * What a page tells of its own: the connection's state, the notice below the header, and toasts.
 *
 * Used by pages.js and board.js. It only shows; who connects decides what is so.
 */

/** Long enough to be read twice; what a toast says stands on the page as well. */
const TOAST_MS = 8_000;
const BACK_MS = 6_000;

const STATES = {
  connecting: "Connecting",
  "catching-up": "Catching up",
  live: "Live",
  offline: "Offline",
  stopped: "Not live",
};

const connection = document.querySelector("[data-connection]");
const notice = document.querySelector("[data-notice]");
const toasts = document.querySelector("[data-toasts]");
let wasDown = false;
let hiding;

/** Shows the connection's state, and says in a sentence when it is lost and when it is back. */
export function showState(state) {
  connection.hidden = false;
  connection.dataset.state = state;
  connection.querySelector("[data-connection-text]").textContent = STATES[state];
  if (state === "offline" && !wasDown) {
    wasDown = true;
    say("The connection is down. What you see may be out of date. We keep trying to reconnect.", "down");
  } else if (state === "live" && wasDown) {
    wasDown = false;
    say("The connection is back. Everything is up to date.", "back");
    hiding = setTimeout(() => (notice.hidden = true), BACK_MS);
  }
}

/** One sentence below the header, read out by a screen reader; `link` is `{href, text}`. */
export function say(sentence, mood, link) {
  clearTimeout(hiding);
  notice.hidden = false;
  notice.dataset.mood = mood;
  notice.replaceChildren(sentence);
  if (link) notice.append(" ", Object.assign(document.createElement("a"), { href: link.href, textContent: link.text }));
}

/** A few words that appear, are read out, and leave; never while somebody points at them or tabs to them. */
export function toast(title, detail, { href, tone } = {}) {
  const box = document.createElement("div");
  box.className = "toast";
  if (tone) box.dataset.tone = tone;
  const text = document.createElement(href ? "a" : "span");
  if (href) text.href = href;
  const strong = document.createElement("strong");
  strong.textContent = title;
  text.append(strong, " ", detail);
  const dismiss = document.createElement("button");
  dismiss.className = "quiet";
  dismiss.ariaLabel = "Dismiss";
  dismiss.textContent = "×";
  dismiss.onclick = () => box.remove();
  box.append(text, dismiss);
  toasts.append(box);
  const leave = () => (box.matches(":hover, :focus-within") ? setTimeout(leave, 1_000) : box.remove());
  setTimeout(leave, TOAST_MS);
}
