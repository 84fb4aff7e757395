/**
 * A user's notifications, by number and once, over one connection for all tabs. Owns the connection and the position.
 * Refuses to draw and to guess what it missed. API, and the reason of each number below: feed.md.
 */

const MIN_RETRY = 500, MAX_RETRY = 20_000, PATIENCE = 10_000, ANSWER = 3_000, SNAPSHOT = 30_000;
const HTTP = { sse: "polling", polling: "websocket" };
const BLOCKED = 2, POLL_SECONDS = 25, HELD = 1000;

export class Feed extends EventTarget {
  state = "connecting";
  transport = "websocket";
  unread = null;
  #env; #url; #api; #ticket; #csrf; #storage; #key; #shared; #life = new AbortController();
  #place; #channel; #leader; #running; #greeting; #link; #turn = 0; #timer;
  #attempts = 0; #misses = 0; #opened; #welcomed; #due = 0; #ping = POLL_SECONDS; #heardAt;
  #ask; #head = 0; #behind; #pingedAt; #read = 0;
  #tip = {}; // where the connection is
  #snapshot; #pending; #waits; #retake; #held = [];
  #said = new Set();

  constructor(options = {}) {
    super();
    check(options, {
      user: "string", stream: "string", after: "number", shared: "boolean",
      storage: "object", ticket: "function", snapshot: "function", csrf: "function",
    });
    const { env = globalThis, url, api, user, after, stream, ticket, snapshot } = options;
    this.#env = env;
    this.user = user ?? null;
    this.after = after ?? null;
    this.stream = stream ?? null;
    if (!env.location) {
      this.#said = ON_SERVER;
      const detail = this.#complain("window", "none here, so the feed does nothing");
      queueMicrotask(() => this.#stop("no_window", detail));
      return;
    }
    this.#url = absolute("url", url ?? "/ws/notifications", env.location.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#api = absolute("api", api ?? "/api/v1", this.#url).href.replace(/^ws/, "http");
    this.#ticket = ticket;
    this.#snapshot = snapshot;
    this.#csrf = options.csrf ?? (() => /(?:^|; )csrftoken=([^;]+)/.exec(env.document?.cookie)?.[1] ?? "");
    this.#key = "orderwire:" + JSON.stringify([this.#url.href, user ?? null]);
    this.#shared = user != null && options.shared !== false && env.navigator?.locks && env.BroadcastChannel;
    try {
      this.#storage = options.storage === undefined ? env.localStorage : options.storage;
      if (after == null && !snapshot) [this.stream, this.after] = JSON.parse(this.#storage.getItem(this.#key));
    } catch {}

    const { signal } = this.#life;
    const on = (target, type, act) => target?.addEventListener?.(type, act, { signal });
    on(env, "online", () => {
      this.#misses = this.#attempts = 0;
      this.#opened = false;
      if (this.state === "offline") this.transport = "websocket";
      this.#wake();
    });
    on(env, "offline", () => this.#leader && this.#link && this.#lost());
    on(env, "pageshow", () => this.#wake());
    on(env.document, "resume", () => this.#wake());
    on(env.document, "visibilitychange", () => env.document.visibilityState === "visible" && this.#wake());
    on(env, "pagehide", () => this.#pause());
    on(env.document, "freeze", () => this.#pause());
    if (snapshot && after == null) this.#take();
    this.#start();
  }

  close() {
    this.#leader = false;
    this.#stop("closed");
  }

  markRead(upTo = this.after) {
    if (!(upTo > 0)) return;
    this.#read = Math.max(this.#read, upTo);
    this.send({ type: "read", up_to: this.#read });
  }

  async renew() {
    const ticket = await this.#fresh();
    if (ticket) this.send({ type: "ticket", ticket });
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #start() {
    this.#running = true;
    if (!this.#shared) return this.#lead();
    this.#channel = new this.#env.BroadcastChannel(this.#key);
    this.#channel.onmessage = ({ data }) => this.#overhear(data);
    this.#queue();
    this.#hello();
  }

  #queue(steal) {
    this.#place?.abort();
    const { signal } = (this.#place = new AbortController());
    this.#env.navigator.locks.request(this.#key, steal ? { steal } : { signal }, () => {
      if (signal.aborted) return;
      this.#lead();
      return new Promise((release) => signal.addEventListener("abort", release));
    }).catch(() => {
      if (signal.aborted) return;
      if (!this.#leader) return this.#lead();
      this.#leader = false;
      this.#drop();
      this.#queue();
      this.#hello();
    });
  }

  #lead() {
    this.#leader = true;
    this.#connect();
  }

  #hello() {
    this.#greeting = true;
    this.#wait(ANSWER, () => this.#queue(true));
    this.#post({ hello: true });
  }

  #overhear({ hello, hi, resume, send, frame, news }) {
    if (this.#leader) {
      if (hello) {
        this.#wake();
        const { user, unread, transport } = this;
        this.#post(this.#welcomed
          ? { hi: { type: "welcome", user, ...this.#tip, head: this.#head, unread, ping_seconds: this.#ping, transport } }
          : { news: { state: this.state, transport } });
      }
      if (resume && this.#welcomed) this.#resume(resume);
      if (send) this.send(send);
    } else if (news) {
      this.transport = news.transport;
      this.#welcomed = false;
      // Browsers hold up a hidden leader's timers.
      this.#wait((news.retry_ms ?? PATIENCE) + ANSWER, () => this.#hello());
      this.#set(news.state, news);
      if (news.state === "stopped") this.#end();
    } else if (frame || (hi && this.#greeting)) {
      this.#hear(frame ?? hi);
    }
  }

  #post(message) {
    this.#channel?.postMessage(message);
  }

  send(frame) {
    if (!this.#leader) this.#post({ send: frame });
    else if (this.#welcomed) this.#link?.send(frame);
  }

  #wake() {
    const { Date } = this.#env;
    if (!this.#running) this.#start();
    else if (!this.#leader) this.#hello();
    else if (this.state === "offline") Date.now() >= this.#due && this.#connect();
    else if (this.#welcomed && Date.now() - this.#heardAt > this.#ping * 1000 + PATIENCE) this.#retry(0);
  }

  #pause() {
    this.#place?.abort();
    this.#drop();
    this.#channel?.close();
    this.#channel = null;
    this.#leader = this.#running = false;
    this.#set("offline");
  }

  async #connect() {
    this.#drop();
    const turn = this.#turn;
    const mine = (act) => (arg) => turn === this.#turn && act(arg);
    this.#wait(PATIENCE, () => this.#lost());
    this.#set("connecting");
    let env = this.#env, ticket;
    if (this.#ticket) {
      try {
        ticket = await this.#fresh();
        if (ticket && this.transport in HTTP) env = await import("./streaming.js").then(({ withToken }) => withToken(env, this.#api, ticket), () => ({}));
      } catch (error) {
        ticket = { detail: this.#complain("ticket", error) };
      }
    }
    if (turn !== this.#turn) return;
    if (this.#ticket) {
      if (ticket == null) return this.#stop("no_ticket", ticket === null ? ticket : this.#complain("ticket", "it gave undefined"));
      if (ticket.detail) return this.#retry(this.#jitter(), ticket);
    }
    const { after, stream } = this.#ask ?? this;
    this.#ask = null;
    try {
      this.#link = TRANSPORTS[this.transport]({
        env, url: this.#url, api: this.#api, csrf: this.#csrf, ticket, after, stream,
        opened: mine(() => (this.#opened = true)),
        frame: mine((frame) => this.#receive(frame, after)),
        lost: mine((code) => this.#lost(code)),
      });
    } catch {
      this.#lost();
    }
  }

  async #fresh() {
    const answer = await this.#ticket?.();
    const ticket = answer?.ticket ?? answer;
    if (ticket == null || (typeof ticket === "string" && /^[\w!#-'*+.^`|~-]+$/.test(ticket))) return ticket;
    throw new TypeError("it gave no {ticket}");
  }

  #receive(frame, asked) {
    const { type } = frame;
    if (type === "welcome") {
      if (this.user != null && frame.user !== this.user) return this.#stop("another_user");
      frame = { ...frame, after: asked ?? frame.after, transport: this.transport };
    }
    if (type === "ping") this.send({ type: "pong" });
    if (type === "bye") {
      const [min, max] = frame.retry_ms ?? [];
      return this.#lost(frame.code, max >= min ? min + this.#env.Math.random() * (max - min) : undefined);
    }
    if (type === "close") return this.#lost(frame.code);
    this.#post({ frame });
    this.#hear(frame);
  }

  #lost(code, exact) {
    if (code >= 4500 && code < 4600) return this.#stop(code);
    let detail;
    if (this.transport in HTTP) {
      if (!this.#welcomed && !code) this.transport = HTTP[this.transport];
    } else if (!this.#opened && ++this.#misses >= BLOCKED) {
      detail = this.#complain("url", `no WebSocket opens at ${this.#url.href}`);
      this.#misses = 0;
      this.transport = "sse";
    }
    this.#retry(exact ?? this.#jitter(), { code, detail }, exact);
  }

  #jitter() {
    const most = Math.min(MAX_RETRY, MIN_RETRY * 2 ** this.#attempts++);
    return Math.min(MAX_RETRY, MIN_RETRY + this.#env.Math.random() * most);
  }

  #retry(ms, why, exact) {
    if (!ms) return this.#connect();
    this.#drop();
    this.#due = exact ? this.#env.Date.now() + ms : 0;
    this.#wait(ms, () => this.#connect());
    this.#set("offline", { ...why, retry_ms: ms });
  }

  // A server that contradicts itself is not hammered.
  #resume(place) {
    this.#ask = place;
    this.#retry(this.#attempts ? this.#jitter() : this.#attempts++);
  }

  #drop() {
    this.#turn++;
    this.#welcomed = false;
    this.#env.clearTimeout(this.#timer);
    this.#link?.close();
    this.#link = null;
  }

  #stop(code, detail) {
    this.#set("stopped", { code, detail });
    this.#end();
  }

  #end() {
    this.#pause();
    this.#life.abort();
    this.#pending = null;
    this.#env.clearTimeout(this.#retake);
  }

  #wait(ms, act) {
    this.#env.clearTimeout(this.#timer);
    this.#timer = this.#env.setTimeout(act, ms);
  }

  #hear(frame) {
    const { type, seq, stream, head, after = head } = frame;
    if (type === "welcome" || type === "reset") {
      this.#ping = frame.ping_seconds ?? this.#ping;
      if (stream !== this.#tip.stream) this.#held = [];
      this.#tip = { stream, after: Math.min(after, head) };
    }
    this.#heardAt = this.#env.Date.now();
    this.#wait(this.#ping * 1000 + PATIENCE, () => (this.#leader ? this.#lost() : this.#hello()));
    if (type === "notification" && this.#tip.stream) {
      this.#tip.after = Math.max(this.#tip.after, seq);
      if (seq > this.#head) {
        if (this.unread != null) this.unread += seq - this.#head;
        this.#head = seq;
      }
    }
    if (!this.#pending || type === "welcome") this.#apply(frame);
    else if (type === "reset") this.#head = head;
    else if (type !== "ping" && this.#held.push(frame) > HELD) this.#held.shift();
  }

  #apply(frame) {
    const { type, seq, head, stream } = frame;
    if (type === "welcome") {
      this.user ??= frame.user;
      this.unread = frame.unread ?? this.unread;
      this.transport = frame.transport;
      this.#head = head;
      this.#welcomed = true;
      this.#behind = this.#greeting = false;
      if (this.#pending) this.#waits && this.#pending();
      else if (this.after == null) this.#move(stream, head);
      else if (this.stream && this.stream !== stream) this.#reset({ stream, head, reason: "unknown_stream" });
      else this.stream = stream;
      this.tell(type, frame);
      if (!this.#pending && this.after < this.#tip.after) return this.#missed();
      this.#settle();
      if (this.#read) this.markRead(this.#read);
    } else if (type === "notification") {
      if (this.after == null || seq <= this.after) return;
      if (seq > this.after + 1) return this.#missed();
      this.tell(type, frame);
      this.#move(this.stream, seq); // After a crash rather again than never.
      this.#settle();
    } else if (type === "ping") {
      const unread = this.#unreadAfter(frame.read_up_to);
      if (unread < this.unread) this.#apply({ type: "read", up_to: frame.read_up_to, unread });
      if (head === this.after) this.#attempts = 0;
      // A replay that moves is only late.
      else if (this.state === "live" || this.after === this.#pingedAt) this.#missed();
      this.#pingedAt = this.after;
    } else if (type === "reset") {
      // Not if another tab's place was lost.
      if (stream !== this.stream || head !== this.after) this.#reset(frame);
    } else if (type === "read") {
      const { up_to, unread } = frame;
      if (up_to >= this.#read) this.#read = 0;
      // It may come early or late.
      this.unread = up_to + unread < this.#head ? this.#unreadAfter(up_to) : unread;
      this.#head = Math.max(this.#head, up_to + unread);
      this.tell(type, { ...frame, unread: this.unread });
    } else this.tell(type, frame);
  }

  #unreadAfter(number) {
    return Math.min(this.unread, Math.max(0, this.#head - number));
  }

  #missed() {
    if (this.#behind || (this.#leader && !this.#link)) return;
    this.#behind = true;
    const { after, stream } = this;
    const resume = { after, stream };
    if (this.#leader) this.#resume(resume);
    else this.#post({ resume });
  }

  #reset(frame) {
    this.#move(frame.stream, (this.#head = frame.head));
    this.tell("reset", frame);
    if (this.#snapshot) this.#take();
    this.#settle();
  }

  #take() {
    const later = (ms) => {
      this.#env.clearTimeout(this.#retake);
      this.#retake = this.#env.setTimeout(ask, ms);
    };
    const ask = (this.#pending = async () => {
      this.#waits = false;
      later(SNAPSHOT);
      let result, detail;
      try {
        result = await this.#snapshot();
        if (result !== null && !(typeof result?.stream === "string" && whole(result.head)))
          throw new TypeError("it gave no {stream, head}");
      } catch (error) {
        detail = this.#complain("snapshot", error);
      }
      if (this.#pending !== ask) return;
      if (detail) {
        this.#waits = true;
        later(this.#jitter());
        if (this.#welcomed) this.#settle(detail);
      } else if (result) this.#begin(result);
      else this.#stop("no_snapshot");
    });
    if (this.#attempts) later(this.#jitter());
    else queueMicrotask(ask);
  }

  #begin(snapshot) {
    const { user, stream, head, unread } = snapshot;
    if (user != null && user !== (this.user ??= user)) return this.#stop("another_user");
    this.#env.clearTimeout(this.#retake);
    if (head >= this.#head) {
      this.#head = head;
      this.unread = unread ?? this.unread;
    }
    this.#move(stream, head);
    this.tell("snapshot", snapshot);
    for (const frame of this.#held.splice(0)) if (stream === this.#tip.stream && this.state !== "stopped") this.#apply(frame);
    this.#pending = null;
    if (this.#welcomed && (stream !== this.#tip.stream || this.after < this.#tip.after)) this.#missed();
    else this.#settle();
  }

  #move(stream, after) {
    this.stream = stream;
    this.after = after;
    try {
      if (this.#leader) this.#storage?.setItem(this.#key, JSON.stringify([stream, after]));
    } catch {}
  }

  #settle(detail) {
    if (this.#welcomed) this.#set(this.#pending || this.after < this.#head ? "catching-up" : "live", { detail });
  }

  #set(state, why) {
    if (this.state === "stopped") return;
    const news = { ...why, state, transport: this.transport };
    if (this.#leader && state !== "live" && state !== "catching-up") this.#post({ news });
    if (this.state === state && !why?.detail) return;
    this.state = state;
    this.tell("state", news);
  }

  #complain(what, why) {
    const detail = `${what}: ${why}`;
    if (!this.#said.has(what)) this.#env.console?.warn(`orderwire: ${detail}`);
    this.#said.add(what);
    return detail;
  }
}

const ON_SERVER = new Set();

function websocket({ env, url, ticket, after, stream, opened, frame, lost }) {
  const address = new URL(url);
  place(address.searchParams, after, stream);
  const socket = new env.WebSocket(address.href, ticket ? ["orderwire.v1", `ticket.${ticket}`] : []);
  socket.onopen = opened;
  socket.onmessage = parsed(frame, lost);
  socket.onclose = ({ code }) => lost(code);
  return { send: (data) => socket.send(JSON.stringify(data)), close: () => socket.close() };
}

function sse(link) {
  const { env, api, after, stream, frame, lost } = link;
  const source = new env.EventSource(`${api}/stream?${place(new URLSearchParams(), after, stream)}`);
  source.onmessage = parsed(frame, lost);
  source.onerror = () => lost();
  return { send: (data) => post(link, data), close: () => source.close() };
}

function polling(link) {
  const { env, api, frame, lost } = link;
  let { after, stream } = link;
  const end = new AbortController();
  (async () => {
    for (let wait = 0; !end.signal.aborted; wait = POLL_SECONDS) {
      const query = place(new URLSearchParams(wait ? { wait } : {}), after, stream);
      const answer = await env.fetch(`${api}/notifications?${query}`, { signal: end.signal });
      if (!answer.ok) return lost([401, 403].includes(answer.status) ? 4500 : 0);
      const { user, unread, stream: now, head, results } = await answer.json();
      const reason = stream && stream !== now ? "unknown_stream"
        : after > head ? "ahead"
        : after != null && (results[0]?.seq ?? head + 1) > after + 1 ? "trimmed" : null;
      if (!wait || reason) frame({ type: "welcome", user, unread, stream: now, head, after: after ?? head, ping_seconds: POLL_SECONDS });
      if (reason) frame({ type: "reset", stream: now, head, reason });
      else results.forEach(frame);
      after = reason || after == null ? head : results.at(-1)?.seq ?? after;
      stream = now;
      frame({ type: "ping", head: after, read_up_to: head - unread });
    }
  })().catch(() => lost());
  return { send: (data) => post(link, data), close: () => end.abort() };
}

const TRANSPORTS = { websocket, sse, polling };

function place(query, after, stream) {
  if (after != null) query.set("after", after);
  if (after != null && stream) query.set("stream", stream);
  return query;
}

const parsed = (frame, lost) => ({ data }) => {
  let value;
  try {
    value = JSON.parse(data);
  } catch {
    return lost();
  }
  frame(value);
};

async function post({ env, api, csrf, frame }, { type, up_to }) {
  if (type !== "read") return;
  try {
    const answer = await env.fetch(`${api}/notifications/read`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrf() },
      body: JSON.stringify({ up_to }),
    });
    if (answer.ok) frame({ type: "read", up_to, ...(await answer.json()) });
  } catch {}
}

const whole = (value) => Number.isSafeInteger(value) && value >= 0;

function check(options, types) {
  for (const name in types) {
    const value = options[name], type = types[name];
    if (value != null && !(type === "number" ? whole(value) : typeof value === type))
      throw new TypeError(`${name}: ${value} is no ${type}`);
  }
}

function absolute(name, address, base) {
  try {
    const url = new URL(address, base);
    if (typeof (address.href ?? address) === "string" && /^(http|ws)s?:$/.test(url.protocol)) return url;
  } catch {}
  throw new TypeError(`${name}: ${address} is no address`);
}
