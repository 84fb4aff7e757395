/**
 * A user's notifications, by number and once, over one connection for all tabs.
 *
 * Owns the connection and the position, the last number this tab holds. Pages create a `Feed`, or what extends it, and listen.
 * Refuses to draw, to guess what it missed (it asks) and to show one user's feed on another's page.
 * API and reasons: feed.md. Types: feed.d.ts.
 */

const MIN_RETRY = 500, MAX_RETRY = 20_000; // Centrifugo's bounds, with AWS's "full jitter".
const GRACE = 10_000; // Centrifugo's: a phone this slow is not dead yet.
const HANDSHAKE = 10_000; // Some proxies swallow an upgrade.
const ANSWER = 3_000; // A frozen tab keeps its lock but answers nobody.
const BLOCKED = 2; // One socket that does not open is a deploy, two look like a proxy.
const POLL_SECONDS = 25; // Proxies commonly cut at 30 s.

export class Feed extends EventTarget {
  state = "connecting";
  transport = "websocket";
  unread = null;
  #env; #url; #api; #ticket; #csrf; #storage; #key; #shared;
  #life = new AbortController(); // ends the listeners on the page
  #place; // ends the claim on the lock, held or queued for
  #channel; #leader = false; #running = false; #greeting = false;
  #link; #turn = 0; #timer; // what happens unless something is heard first
  #attempts = 0; #misses = 0; #opened = false; #welcomed = false; #due = 0;
  #ask; #asked; #head = 0; #ping = POLL_SECONDS; #heardAt = 0; #behind = false; #pingedAt; #read = 0;

  constructor(options = {}) {
    super();
    const { env = globalThis, url = "/ws/notifications", api = "/api/v1", user, after, stream } = options;
    this.#env = env;
    this.#url = new URL(url, env.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#api = new URL(api, this.#url).href.replace(/^ws/, "http");
    this.#ticket = options.ticket;
    this.#csrf = options.csrf ?? (() => /(?:^|; )csrftoken=([^;]+)/.exec(env.document?.cookie)?.[1] ?? "");
    this.user = user ?? null;
    // Tabs share only when they are known to show the same user.
    this.#key = "orderwire:" + JSON.stringify([this.#url.href, user ?? null]);
    this.#shared = user != null && options.shared !== false && env.navigator?.locks && env.BroadcastChannel;
    this.after = after ?? null;
    this.stream = stream ?? null;
    try {
      this.#storage = options.storage === undefined ? env.localStorage : options.storage;
      // The page's position belongs to the snapshot it shows, so it wins.
      if (after == null) [this.stream, this.after] = JSON.parse(this.#storage.getItem(this.#key));
    } catch {} // Refused or empty: start from now.

    const { signal } = this.#life;
    const on = (target, type, act) => target?.addEventListener?.(type, act, { signal });
    on(env, "online", () => { // Perhaps another network, with another proxy.
      this.#misses = this.#attempts = 0;
      this.#opened = false;
      if (this.state === "offline") this.transport = "websocket";
      this.#wake();
    });
    on(env, "offline", () => this.#leader && this.#link && this.#lost());
    on(env, "pageshow", () => this.#wake());
    on(env.document, "resume", () => this.#wake());
    on(env.document, "visibilitychange", () => env.document.visibilityState === "visible" && this.#wake());
    // A cached or frozen page must not hold the others' connection.
    on(env, "pagehide", () => this.#pause());
    on(env.document, "freeze", () => this.#pause());
    this.#start();
  }

  close() {
    this.#leader = false; // The other tabs go on.
    this.#stop("closed");
  }

  // Sent again after every welcome until a `read` frame confirms it.
  markRead(upTo = this.after) {
    if (!(upTo > 0)) return;
    this.#read = Math.max(this.#read, upTo);
    this.#send({ type: "read", up_to: this.#read });
  }

  async renew() {
    const ticket = await this.#fresh();
    if (ticket) this.#send({ type: "ticket", ticket });
  }

  // For what extends this: all that a page hears goes through here.
  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // ── The tab with the lock leads, the others listen to it ──

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
      if (!this.#leader) return this.#lead(); // Locks are refused (a sandboxed frame): go alone.
      this.#leader = false; // Stolen while this tab was asleep.
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
        const { user, stream, after, unread, transport } = this;
        this.#post(this.#welcomed
          ? { hi: { type: "welcome", user, stream, head: this.#head, after, unread, ping_seconds: this.#ping, transport } }
          : { news: { state: this.state, transport } });
      }
      // Without a welcome yet, one is coming, and the asker looks again then.
      if (resume && this.#welcomed) this.#resume(resume);
      if (send) this.#send(send);
    } else if (news) {
      this.transport = news.transport;
      // Browsers hold up a hidden leader's timers: knock when it is overdue.
      this.#wait((news.retry_ms ?? HANDSHAKE) + ANSWER, () => this.#hello());
      this.#set(news.state, news);
      if (news.state === "stopped") this.#end();
    } else if (frame || (hi && this.#greeting)) {
      this.#apply(frame ?? hi);
    }
  }

  #post(message) {
    this.#channel?.postMessage(message);
  }

  #send(frame) {
    if (!this.#leader) this.#post({ send: frame });
    else if (this.#welcomed) this.#link?.send(frame);
  }

  #wake() {
    const { Date } = this.#env;
    if (!this.#running) this.#start();
    else if (!this.#leader) this.#hello();
    else if (this.state === "offline") Date.now() >= this.#due && this.#connect();
    // Timers stand still while a laptop sleeps, clocks do not.
    else if (this.#welcomed && Date.now() - this.#heardAt > this.#ping * 1000 + GRACE) this.#retry(0);
  }

  #pause() {
    this.#place?.abort();
    this.#drop();
    this.#channel?.close();
    this.#channel = null;
    this.#leader = this.#running = false;
    this.#set("offline");
  }

  // ── The leader's connection ──

  async #connect() {
    this.#drop();
    const turn = this.#turn;
    const mine = (act) => (...args) => turn === this.#turn && act(...args);
    this.#wait(HANDSHAKE, () => this.#lost());
    this.#set("connecting");
    let ticket;
    if (this.#ticket) {
      try {
        ticket = await this.#fresh();
      } catch {
        return mine(() => this.#lost())();
      }
    }
    if (turn !== this.#turn) return;
    if (this.#ticket && !ticket) return this.#stop("no_ticket");
    const { after, stream } = this.#ask ?? this;
    this.#ask = null;
    this.#asked = after;
    try {
      this.#link = TRANSPORTS[this.transport]({
        env: this.#env, url: this.#url, api: this.#api, csrf: this.#csrf, ticket, after, stream,
        opened: mine(() => (this.#opened = true)),
        frame: mine((frame) => this.#receive(frame)),
        lost: mine((code) => this.#lost(code)),
      });
    } catch {
      this.#lost(); // Missing here, or refused by a policy.
    }
  }

  async #fresh() {
    const answer = await this.#ticket?.();
    return answer?.ticket ?? answer;
  }

  #receive(frame) {
    const { type } = frame;
    if (type === "welcome") {
      // The log-in changed under this page, or the server does not say whose feed this is.
      if (this.user != null && `${frame.user}` !== `${this.user}`) return this.#stop("another_user");
      this.#welcomed = true;
      // Tells every tab whether its place is covered.
      frame = { ...frame, after: this.#asked ?? frame.after, transport: this.transport };
    }
    if (type === "ping") this.#send({ type: "pong" });
    if (type === "bye") {
      const [min, max] = frame.retry_ms ?? [];
      return this.#lost(frame.code, max >= min ? min + this.#env.Math.random() * (max - min) : undefined);
    }
    if (type === "close") return this.#lost(frame.code); // What an event stream has for a close code.
    this.#post({ frame });
    this.#apply(frame);
  }

  #lost(code, exact) {
    if (code >= 4500 && code < 4600) return this.#stop(code);
    const HTTP = { sse: "polling", polling: "websocket" };
    if (this.transport in HTTP) {
      if (!this.#welcomed) this.transport = HTTP[this.transport];
    } else if (!this.#opened && !this.#ticket && ++this.#misses >= BLOCKED) {
      // HTTP needs the cookie. If the server is down, it fails as well, and the WebSocket's turn comes again.
      this.#misses = 0;
      this.transport = "sse";
    }
    this.#retry(exact ?? this.#jitter(), code, exact);
  }

  #jitter() {
    const most = Math.min(MAX_RETRY, MIN_RETRY * 2 ** this.#attempts++);
    return Math.min(MAX_RETRY, MIN_RETRY + this.#env.Math.random() * most);
  }

  #retry(ms, code, exact) {
    if (!ms) return this.#connect();
    this.#drop();
    this.#due = exact ? this.#env.Date.now() + ms : 0; // No wake-up comes before it.
    this.#wait(ms, () => this.#connect());
    this.#set("offline", { code, retry_ms: ms });
  }

  // At once, then with backoff until a ping agrees: a server that contradicts itself is not hammered.
  #resume({ after, stream }) {
    this.#ask = { after, stream };
    const ms = this.#attempts ? this.#jitter() : 0;
    this.#attempts ||= 1;
    this.#retry(ms);
  }

  #drop() {
    this.#turn++;
    this.#welcomed = false;
    this.#env.clearTimeout(this.#timer);
    this.#link?.close();
    this.#link = null;
  }

  #stop(code) {
    this.#set("stopped", { code }); // The other tabs stop as well.
    this.#end();
  }

  #end() {
    this.#pause();
    this.#life.abort();
  }

  #wait(ms, act) {
    this.#env.clearTimeout(this.#timer);
    this.#timer = this.#env.setTimeout(act, ms);
  }

  // ── What a frame means, in every tab ──

  #apply(frame) {
    const { type, seq, head, stream } = frame;
    if (type === "welcome") this.#ping = frame.ping_seconds ?? this.#ping;
    this.#heardAt = this.#env.Date.now();
    this.#wait(this.#ping * 1000 + GRACE, () => (this.#leader ? this.#lost() : this.#hello()));
    if (frame.unread != null) this.unread = frame.unread;

    if (type === "welcome") {
      this.user ??= frame.user;
      this.transport = frame.transport;
      this.#head = head;
      this.#behind = this.#greeting = false;
      if (this.after == null) this.#move(stream, head);
      else if (this.stream && this.stream !== stream) this.#reset({ stream, head, reason: "unknown_stream" });
      else this.stream = stream;
      this.tell("welcome", frame);
      if (this.after < Math.min(frame.after, head)) return this.#missed();
      this.#settle();
      if (this.#read) this.markRead(this.#read);
    } else if (type === "notification") {
      if (this.after == null) return;
      if (seq > this.#head) {
        this.#head = seq;
        if (this.unread != null) this.unread++; // The welcome counted up to its head.
      }
      if (seq <= this.after) return;
      if (seq > this.after + 1) return this.#missed();
      this.tell(type, frame);
      this.#move(this.stream, seq); // After the page has it: shown again after a crash, rather than never.
      this.#settle();
    } else if (type === "ping") {
      if (head === this.after) this.#attempts = 0;
      // A replay that moves may still be behind.
      else if (this.state === "live" || this.after === this.#pingedAt) this.#missed();
      this.#pingedAt = this.after;
    } else if (type === "reset") {
      // Another tab's place was lost: who is at the head lost nothing.
      if (stream !== this.stream || head !== this.after) this.#reset(frame);
    } else if (type === "read") {
      if (frame.up_to >= this.#read) this.#read = 0;
      this.#head = Math.max(this.#head, frame.up_to + frame.unread); // It may overtake what it counts.
      this.tell(type, frame);
    } else this.tell(type, frame);
  }

  #missed() {
    if (this.#behind) return;
    this.#behind = true;
    const { after, stream } = this;
    if (this.#leader) this.#resume(this);
    else this.#post({ resume: { after, stream } });
  }

  #reset(frame) {
    this.#move(frame.stream, (this.#head = frame.head));
    this.tell("reset", frame);
    this.#settle();
  }

  #move(stream, after) {
    this.stream = stream;
    this.after = after;
    try {
      if (this.#leader) this.#storage?.setItem(this.#key, JSON.stringify([stream, after]));
    } catch {} // Costs the resume after a reload, nothing else.
  }

  #settle() {
    this.#set(this.after < this.#head ? "catching-up" : "live");
  }

  #set(state, detail) {
    if (this.state === "stopped") return;
    const news = { ...detail, state, transport: this.transport };
    // The others see by themselves, by the frames, when they are live.
    if (this.#leader && state !== "live" && state !== "catching-up") this.#post({ news });
    if (this.state === state) return;
    this.state = state;
    this.tell("state", news);
  }
}

// ── Transports: they call `frame` and `lost`, and have `send` and `close` ──

function websocket({ env, url, ticket, after, stream, opened, frame, lost }) {
  const address = new URL(url);
  place(address.searchParams, after, stream);
  const socket = new env.WebSocket(address.href, ticket ? ["orderwire.v1", `ticket.${ticket}`] : []);
  socket.onopen = opened;
  socket.onmessage = parsed(frame, lost);
  socket.onclose = ({ code }) => lost(code);
  return {
    send: (data) => socket.send(JSON.stringify(data)),
    close() {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    },
  };
}

function sse(link) {
  const { env, api, after, stream, frame, lost } = link;
  const source = new env.EventSource(`${api}/stream?${place(new URLSearchParams(), after, stream)}`);
  source.onmessage = parsed(frame, lost);
  source.onerror = () => lost(); // Its own reconnect has no jitter.
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
      const body = await answer.json();
      const { head, results } = body;
      const reason = stream && stream !== body.stream ? "unknown_stream"
        : after > head ? "ahead"
        : after != null && (results[0]?.seq ?? head + 1) > after + 1 ? "trimmed" : null;
      if (!wait || reason)
        frame({ type: "welcome", user: body.user, unread: body.unread, stream: body.stream, head, after: after ?? head, ping_seconds: POLL_SECONDS });
      if (reason) frame({ type: "reset", stream: body.stream, head, reason });
      else results.forEach(frame);
      after = reason || after == null ? head : results.at(-1)?.seq ?? after;
      stream = body.stream;
      frame({ type: "ping", head: after });
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

function parsed(frame, lost) {
  return ({ data }) => {
    let value;
    try {
      value = JSON.parse(data);
    } catch {
      return lost(); // Something in between speaks.
    }
    frame(value);
  };
}

async function post({ env, api, csrf, frame }, { type, up_to }) {
  if (type !== "read") return;
  try {
    const answer = await env.fetch(`${api}/notifications/read`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrf() },
      body: JSON.stringify({ up_to }),
    });
    if (answer.ok) frame({ type: "read", up_to, ...(await answer.json()) });
  } catch {} // Sent again after the next welcome.
}
