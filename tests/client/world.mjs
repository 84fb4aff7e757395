/**
 * The world outside the client, for its tests: a clock that moves when told, a browser with tabs, locks, channels
 * and storage, and a server that keeps the contract of `/ws/notifications`, `/stream`, `/notifications` and `/snapshot`.
 *
 * Node has no Web Locks and no tabs, so the outside world is played here; the client under test is the real files.
 * Nothing here sleeps: tasks run in the order in which they were posted, until none is left.
 */
import { assembled } from "./assembled.mjs";

export const { Feed } = await import(new URL("feed.js", assembled));
export const { Orderwire } = await import(new URL("orderwire.js", assembled));
await import(new URL("streaming.js", assembled)); // Loaded by now, as the tasks of this world take no time.

const turn = () => new Promise(setImmediate); // lets every promise that is ready run

export class World {
  now = 1_700_000_000_000;
  tabs = [];
  tasks = [];
  timers = new Set();
  random = () => 0.5;
  cookieUser = "alice";
  storage = new Map();
  writes = [];
  warnings = []; // what the consoles show
  lateTheft = 0; // ms until a tab learns that its lock was stolen
  online = true;

  constructor() {
    this.server = new Server(this);
    this.locks = new Locks(this);
  }

  post(act, tab) {
    this.tasks.push({ act, tab });
  }

  async settle() {
    let ran = 0;
    do {
      await turn();
      for (let task; (task = this.tasks.shift()); await turn()) {
        if (++ran > 10_000) throw new Error("the world does not come to rest");
        if (task.tab?.hung) task.tab.held.push(task);
        else if (!task.tab?.gone) task.act();
      }
      await turn();
    } while (this.tasks.length);
  }

  after(ms, act, tab) {
    const timer = { at: this.now + Math.max(0, ms), act, tab };
    this.timers.add(timer);
    return timer;
  }

  async pass(ms) {
    const end = this.now + ms;
    for (;;) {
      await this.settle();
      const due = [...this.timers].filter((t) => t.at <= end && !t.tab?.hung && !t.tab?.gone).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.now = Math.max(this.now, due.at);
      this.timers.delete(due);
      due.act();
    }
    this.now = end;
  }

  tab(options) {
    const tab = new Tab(this, options);
    this.tabs.push(tab);
    return tab;
  }

  async open(options, env) {
    const tab = this.tab(env);
    tab.open(options);
    await this.settle();
    return tab;
  }
}

class Tab {
  gone = false;
  hung = false;
  held = [];
  channels = new Set();
  lockRequests = new Set();
  seen = [];
  stale = [];
  states = [];
  heard = [];

  constructor(world, { without = [] } = {}) {
    this.world = world;
    const tab = this;
    const { server } = world;
    const env = Object.assign(new EventTarget(), {
      location: { href: "http://shop.test/orders/SO-1" },
      document: Object.assign(new EventTarget(), { visibilityState: "visible", cookie: "theme=dark; csrftoken=from-cookie; orderwire_csrf=from-cookie" }),
      navigator: { locks: { request: (...args) => world.locks.request(tab, ...args) } },
      localStorage: {
        getItem: (key) => world.storage.get(key) ?? null,
        setItem: (key, value) => world.storage.set(key, value) && world.writes.push(value),
      },
      console: { warn: (text) => world.warnings.push(text) },
      Math: { random: () => world.random() },
      Date: { now: () => world.now },
      setTimeout: (act, ms) => world.after(ms, act, tab),
      clearTimeout: (timer) => world.timers.delete(timer),
      fetch: (url, init) => server.fetch(tab, url, init),
      WebSocket: class {
        constructor(url, protocols) {
          Object.assign(this, { url, protocols, readyState: 0, sent: [] });
          server.websocket(tab, this);
        }
        send(text) {
          this.sent.push(JSON.parse(text));
          world.post(() => server.told(this, JSON.parse(text)));
        }
        close() {
          if (this.readyState < 2) server.gone(this);
          this.readyState = 3;
        }
      },
      EventSource: class extends EventTarget {
        constructor(url) {
          super();
          Object.assign(this, { url, readyState: 0 });
          server.eventsource(tab, this);
        }
        close() {
          server.gone(this);
          this.readyState = 2;
        }
      },
      BroadcastChannel: class {
        constructor(name) {
          this.name = name;
          tab.channels.add(this);
        }
        postMessage(data) {
          if (!tab.channels.has(this)) throw new Error("InvalidStateError: the channel is closed");
          for (const other of world.tabs)
            for (const channel of other.channels)
              if (channel !== this && channel.name === this.name) {
                const copy = structuredClone(data);
                world.post(() => other.channels.has(channel) && channel.onmessage?.({ data: copy }), other);
              }
        }
        close() {
          tab.channels.delete(this);
        }
      },
    });
    for (const name of without) name === "locks" ? delete env.navigator.locks : delete env[name];
    this.env = env;
  }

  open(options = {}) {
    this.feed = new Orderwire({ env: this.env, ...options });
    for (const type of ["state", "welcome", "notification", "reset", "snapshot", "read", "progress", "order", "error"])
      this.feed.addEventListener(type, ({ detail }) => this.heard.push({ type, ...detail }));
    this.feed.addEventListener("notification", ({ detail }) => {
      this.seen.push(detail.seq);
      if (detail.stale) this.stale.push(detail.seq);
    });
    this.feed.addEventListener("state", ({ detail }) => this.states.push(detail.state));
    // A page that draws a snapshot shows what came after it, and nothing of before.
    this.feed.addEventListener("snapshot", ({ detail }) => {
      this.first = detail.head;
      this.seen.length = 0;
    });
    return this.feed;
  }

  fire(type) {
    (["visibilitychange", "freeze", "resume"].includes(type) ? this.env.document : this.env).dispatchEvent(new Event(type));
    return this.world.settle();
  }

  /** The tab's process ends without a word: locks and sockets go, no event runs. */
  crash() {
    this.gone = true;
    this.channels.clear();
    for (const socket of this.world.server.links) if (socket.tab === this) this.world.server.gone(socket);
    this.world.locks.forget(this);
  }

  /** Frozen by the browser: it keeps its locks, and what reaches it waits. */
  hang() {
    this.hung = true;
  }

  wakeUp() {
    this.hung = false;
    this.world.tasks.push(...this.held.splice(0));
    return this.world.settle();
  }
}

class Locks {
  held = new Map();
  queues = new Map();

  constructor(world) {
    this.world = world;
  }

  request(tab, name, { signal, steal }, act) {
    return new Promise((resolve, reject) => {
      const claim = { tab, act, resolve, reject: () => reject(new DOMException("", "AbortError")) };
      const queue = this.queues.get(name) ?? [];
      this.queues.set(name, queue);
      if (steal) {
        const former = this.held.get(name);
        this.held.delete(name);
        if (former) this.world.after(this.world.lateTheft, () => this.world.post(former.reject, former.tab));
        queue.unshift(claim);
      } else queue.push(claim);
      signal?.addEventListener("abort", () => {
        if (queue.includes(claim)) queue.splice(queue.indexOf(claim), 1), claim.reject();
      });
      this.grant(name);
    });
  }

  grant(name) {
    if (this.held.has(name)) return;
    const claim = this.queues.get(name).shift();
    if (!claim) return;
    this.held.set(name, claim);
    const release = () => {
      if (this.held.get(name) !== claim) return;
      this.held.delete(name);
      claim.resolve();
      this.grant(name);
    };
    this.world.post(() => Promise.resolve(claim.act()).then(release), claim.tab);
  }

  forget(tab) {
    for (const [name, queue] of this.queues) {
      this.queues.set(name, queue.filter((claim) => claim.tab !== tab));
      if (this.held.get(name)?.tab === tab) this.held.delete(name);
      this.grant(name);
    }
  }
}

/** A server as in the contract. Tests switch its faults on: `up`, `blocked`, `swallows`, `silent`, `loses`. */
class Server {
  links = new Set();
  attempts = []; // every connection and request, in order
  tickets = new Map();
  tokens = new Map(); // what tickets were exchanged for
  foreign = false; // the page's origin may read no answer over HTTP
  streams = new Map();
  up = true; // false: nothing listens
  blocked = false; // a proxy refuses upgrades
  swallows = false; // a proxy takes upgrades and never answers
  buffers = false; // a proxy holds an event stream back
  silent = false; // connections stay open and dead
  loses = 0; // that many live notifications are lost on the way
  refuses = 0; // a close code for whoever connects
  readsUnheard = false; // whoever reads, nobody is told
  holds = false; // snapshots are read, and their answers wait for `letGo`
  held = [];
  nextId = 1;

  constructor(world) {
    this.world = world;
  }

  stream(user) {
    if (!this.streams.has(user)) this.streams.set(user, { id: `${user}-${this.nextId++}`, log: [], trimmed: 0, read: 0, head: 0 });
    return this.streams.get(user);
  }

  append(user = "alice", order = { number: "SO-1", version: this.stream(user).head + 1 }) {
    const stream = this.stream(user);
    const frame = { type: "notification", seq: ++stream.head, kind: "order.status_changed", order };
    stream.log.push(frame);
    if (this.loses > 0) this.loses--;
    else this.toUser(user, frame);
    return frame.seq;
  }

  toUser(user, frame) {
    for (const link of this.links) if (link.user === user) this.say(link, frame);
  }

  say(link, frame) {
    if (!this.silent && !link.muted) this.world.post(() => this.links.has(link) && link.hear(frame), link.tab);
  }

  welcome(link, query) {
    link.muted ||= this.silent; // What is dead from its beginning stays so: nobody hears what follows a lost welcome.
    const stream = this.stream(link.user);
    const asked = query.has("after") ? Number(query.get("after")) : null;
    const reason = asked == null ? null
      : query.has("stream") && query.get("stream") !== stream.id ? "unknown_stream"
      : asked > stream.head ? "ahead" : asked < stream.trimmed ? "trimmed" : null;
    const welcome = { type: "welcome", protocol: 1, user: link.user, stream: stream.id, head: stream.head,
      after: reason ? stream.head : asked ?? stream.head, unread: stream.head - stream.read, ping_seconds: 25 };
    this.say(link, welcome);
    if (reason) this.say(link, { type: "reset", stream: stream.id, head: stream.head, reason });
    else for (const frame of stream.log) if (frame.seq > welcome.after) this.say(link, frame);
    const ping = () => {
      if (!this.links.has(link)) return;
      const { head, read } = this.stream(link.user);
      this.say(link, { type: "ping", head, read_up_to: read });
      this.world.after(25_000, ping);
    };
    this.world.after(25_000, ping);
  }

  websocket(tab, socket) {
    this.attempts.push({ kind: "websocket", at: this.world.now, url: socket.url, protocols: socket.protocols, socket });
    socket.tab = tab;
    socket.hear = (frame) => socket.onmessage?.({ data: JSON.stringify(frame) });
    this.links.add(socket);
    this.world.post(() => {
      if (!this.links.has(socket)) return;
      if (this.swallows) return;
      if (!this.up || this.blocked || !this.world.online) return this.cut(socket, 1006);
      socket.readyState = 1;
      socket.onopen?.({});
      if (this.refuses) return this.cut(socket, this.refuses);
      const ticket = socket.protocols.find?.((p) => p.startsWith("ticket."))?.slice(7);
      socket.user = ticket ? this.tickets.get(ticket) : this.world.cookieUser;
      this.tickets.delete(ticket);
      if (!socket.user) return this.cut(socket, 4500);
      this.welcome(socket, new URL(socket.url).searchParams);
    }, tab);
  }

  eventsource(tab, source) {
    this.attempts.push({ kind: "sse", at: this.world.now, url: source.url });
    source.tab = tab;
    source.hear = (frame) => source.onmessage?.({ data: JSON.stringify(frame) });
    this.links.add(source);
    this.world.post(() => {
      if (!this.links.has(source)) return;
      if (!this.up || this.blocked === "sse") return this.cut(source);
      if (this.refuses) { // With a code that comes back it is told in a stream, which a plain EventSource survives.
        if (this.refuses < 4500) this.say(source, { type: "close", code: this.refuses });
        return this.world.post(() => this.cut(source), tab);
      }
      source.user = this.world.cookieUser;
      if (!this.buffers) this.welcome(source, new URL(source.url).searchParams);
    }, tab);
  }

  /** `GET /snapshot` as a page asks for it; `held` keeps answers back until the test lets them go. */
  async snapshot(user = "alice") {
    this.attempts.push({ kind: "snapshot", at: this.world.now });
    if (!this.up) throw new TypeError("NetworkError");
    const { id, head, read, log } = this.stream(user);
    const orders = [...new Map(log.map(({ order }) => [order?.number, order])).values()].filter(Boolean);
    const answer = { user, stream: id, head, unread: head - read, orders, next: null };
    if (this.holds) await new Promise((resolve) => this.held.push(resolve));
    return answer;
  }

  letGo() {
    this.held.splice(0).forEach((resolve) => resolve());
    return this.world.settle();
  }

  async fetch(tab, url, init) {
    this.attempts.push({ kind: "fetch", at: this.world.now, url, init });
    const json = (body, status = 200) => ({ ok: status < 400, status, json: async () => body });
    if (!this.up || this.foreign) throw new TypeError("NetworkError");
    if (url.endsWith("/tickets/exchange")) return this.exchange(JSON.parse(init.body), json);
    const bearer = init.headers?.Authorization?.replace("Bearer ", "");
    const user = bearer ? this.tokens.get(bearer) : this.world.cookieUser;
    if (!user) return json({}, bearer ? 401 : 403);
    if (new URL(url).pathname.endsWith("/stream")) return this.streamed(tab, user, url, init, json);
    const stream = this.stream(user);
    if (init.method === "POST") {
      if (!bearer && init.headers["X-CSRFToken"] !== "from-cookie") return json({}, 403);
      stream.read = Math.max(stream.read, Math.min(stream.head, JSON.parse(init.body).up_to));
      return json({ up_to: stream.read, unread: stream.head - stream.read });
    }
    const query = new URL(url).searchParams;
    const asked = Number(query.get("after") ?? 0);
    const answer = () => json({ user, unread: stream.head - stream.read, stream: stream.id, head: stream.head,
      results: stream.log.filter(({ seq }) => seq > asked && seq > stream.trimmed) });
    if (!query.has("wait") || stream.head > asked) return answer();
    return new Promise((resolve, reject) => {
      const waiter = { tab, user, hear: () => { this.links.delete(waiter); resolve(answer()); } };
      this.links.add(waiter);
      init.signal.addEventListener("abort", () => { this.links.delete(waiter); reject(new DOMException("", "AbortError")); });
      this.world.after(Number(query.get("wait")) * 1000, () => this.links.has(waiter) && waiter.hear());
    });
  }

  exchange({ ticket }, json) {
    const user = this.tickets.get(ticket);
    this.tickets.delete(ticket);
    if (!user) return json({}, 401);
    const token = `stream.${ticket}`;
    this.tokens.set(token, user);
    return json({ token, expires_at: "" }, 201);
  }

  /** An event stream as `fetch` reads it: bytes, cut anywhere. */
  streamed(tab, user, url, { signal }, json) {
    if (this.blocked === "sse") throw new TypeError("NetworkError");
    let controller;
    const body = new ReadableStream({ start: (it) => (controller = it) });
    const link = { tab, user, onerror: () => controller.close() };
    link.hear = (frame) => {
      for (const byte of new TextEncoder().encode(`id: 1\ndata: ${JSON.stringify(frame)}\n\n`)) controller.enqueue(Uint8Array.of(byte));
    };
    this.links.add(link);
    signal.addEventListener("abort", () => {
      if (this.links.delete(link)) controller.error(new DOMException("", "AbortError"));
    });
    if (!this.buffers) this.welcome(link, new URL(url).searchParams);
    return { ...json(null), body };
  }

  told(socket, frame) {
    if (frame.type !== "read" || !this.links.has(socket)) return;
    const stream = this.stream(socket.user);
    stream.read = Math.max(stream.read, Math.min(stream.head, frame.up_to));
    if (this.readsUnheard) return;
    this.toUser(socket.user, { type: "read", up_to: stream.read, unread: stream.head - stream.read });
  }

  gone(link) {
    this.links.delete(link);
  }

  cut(link, code = 1006) {
    if (!this.links.delete(link)) return;
    link.readyState = 3;
    this.world.post(() => (link.onclose ? link.onclose({ code }) : link.onerror?.({})), link.tab);
  }

  cutAll(code) {
    for (const link of [...this.links]) this.cut(link, code);
    return this.world.settle();
  }

  get sockets() {
    return [...this.links].filter((link) => link.readyState === 1);
  }

  tries(kind = "websocket") {
    return this.attempts.filter((attempt) => attempt.kind === kind);
  }
}
