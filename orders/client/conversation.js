/** The conversation about an order: says something once, by whichever way there is, and tells what to read. API: README.md. */

const ANSWER = 5_000; // Then the same is said over HTTP: its id keeps it from being kept twice.
const TYPING = 3_000; // The other side shows it for twice as long.

export class Conversation extends EventTarget {
  #feed; #number; #url; #csrf; #env; #typed = -TYPING; #life = new AbortController();

  constructor(feed, number, { api = "/api/v1", csrf = () => "", env = globalThis } = {}) {
    super();
    if (typeof number !== "string" || !number) throw new TypeError(`number: ${number} is no order's`);
    this.#feed = feed;
    this.#number = number;
    this.#url = `${new URL(api, env.location.href).href}/orders/${encodeURIComponent(number)}/messages`;
    this.#csrf = csrf;
    this.#env = env;
    const { signal } = this.#life;
    const on = (type, act) => feed.addEventListener(type, ({ detail }) => act(detail), { signal });
    on("message", ({ order, ...message }) => order === number && this.#tell("message", message));
    on("notification", ({ order, message, at }) => {
      if (message && order?.number === number) this.#tell("message", { client_id: null, at, ...message });
    });
    on("typing", ({ order, who }) => order === number && this.#tell("typing", { who }));
  }

  /** What is kept of it; rejects with an `Error` that has `code` and, where it may be tried again, `retryAfter` seconds. */
  async say(text, id = newId(this.#env)) {
    this.#typed = -TYPING; // What is typed next is another message.
    const live = this.#feed.transport === "websocket" && ["live", "catching-up"].includes(this.#feed.state);
    return (live && (await this.#overSocket(text, id))) || this.#overHttp(text, id);
  }

  typing() {
    const now = this.#env.Date.now();
    if (now - this.#typed < TYPING) return;
    this.#typed = now;
    this.#feed.send({ type: "typing", order: this.#number });
  }

  /** `{results, next, previous}`, newest first; `address` is the `next` of a page. */
  async read(address = this.#url) {
    const answer = await this.#env.fetch(address, { headers: { Accept: "application/json" } });
    return answer.ok ? answer.json() : Promise.reject(await refused(answer));
  }

  close() {
    this.#life.abort();
  }

  #overSocket(text, id) {
    const heard = new AbortController();
    const { signal } = heard;
    return new Promise((resolve, reject) => {
      const on = (type, act) => this.#feed.addEventListener(type, ({ detail }) => detail.client_id === id && act(detail), { signal });
      on("message", resolve);
      on("error", ({ code, detail, retry_after }) => reject(failure(code, detail, retry_after)));
      this.#feed.addEventListener("state", ({ detail }) => detail.state === "offline" && resolve(null), { signal });
      this.#env.setTimeout(() => resolve(null), ANSWER);
      this.#feed.send({ type: "message", order: this.#number, text, client_id: id });
    }).finally(() => heard.abort());
  }

  async #overHttp(text, client_id) {
    const answer = await this.#env.fetch(this.#url, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": this.#csrf() },
      body: JSON.stringify({ text, client_id }),
    });
    if (!answer.ok) throw await refused(answer);
    const { id, order, side, written_at } = await answer.json();
    const kept = { id, order, side, at: written_at, client_id };
    this.#tell("message", kept);
    return kept;
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function newId({ crypto }) {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function refused(answer) {
  const { code, detail } = await answer.json().catch(() => ({}));
  return failure(code ?? "unknown", detail ?? `${answer.status}`, Number(answer.headers.get("Retry-After")) || undefined);
}

const failure = (code, detail, retryAfter) => Object.assign(new Error(detail), { code, retryAfter });
