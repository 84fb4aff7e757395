/** One tab, one WebSocket: frames, resume, states, backoff and what brings the client back. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { World } from "./world.mjs";

let world, server;
beforeEach(() => {
  world = new World();
  server = world.server;
});
const last = () => server.tries().at(-1);

test("the address follows the page's scheme and asks for what comes from now on", async () => {
  await world.open();
  assert.equal(last().url, "ws://shop.test/ws/notifications");
  assert.deepEqual(last().protocols, []);
  await world.open({ url: "https://orders.test/ws/notifications" });
  assert.equal(last().url, "wss://orders.test/ws/notifications");
});

test("the page's own position is where the feed begins", async () => {
  for (let i = 0; i < 4; i++) server.append();
  const { id } = server.stream("alice");
  world.storage.set('orderwire:["ws://shop.test/ws/notifications",null]', `["${id}",4]`);
  const tab = await world.open({ after: 2, stream: id });
  assert.equal(last().url, `ws://shop.test/ws/notifications?after=2&stream=${id}`);
  assert.deepEqual(tab.seen, [3, 4]);
});

test("a notification arrives as an event with its frame as the detail", async () => {
  const tab = await world.open();
  server.append("alice", { number: "SO-7", version: 2, status: "shipped" });
  await world.settle();
  const { type, seq, kind, order, stale } = tab.heard.at(-1);
  assert.deepEqual({ type, seq, kind, order, stale },
    { type: "notification", seq: 1, kind: "order.status_changed", order: { number: "SO-7", version: 2, status: "shipped" }, stale: false });
});

test("a ticket travels as a subprotocol and each connection takes a fresh one", async () => {
  let minted = 0;
  const ticket = async () => {
    server.tickets.set(`t${++minted}`, "alice");
    return minted % 2 ? { ticket: `t${minted}` } : `t${minted}`;
  };
  const { feed } = await world.open({ ticket });
  assert.deepEqual(last().protocols, ["orderwire.v1", "ticket.t1"]);
  await server.cutAll(4005);
  await world.pass(1_000);
  assert.deepEqual(last().protocols, ["orderwire.v1", "ticket.t2"]);
  assert.equal(feed.state, "live");
});

test("renew sends a fresh ticket over the open socket", async () => {
  server.tickets.set("first", "alice");
  const fresh = ["first", "second"];
  const { feed } = await world.open({ ticket: async () => fresh.shift() });
  await feed.renew();
  await world.settle();
  assert.deepEqual(last().socket.sent, [{ type: "ticket", ticket: "second" }]);
});

test("a shop that fails to mint a ticket is asked again and one that gives none stops the feed", async () => {
  let answer = async () => { throw new Error("502"); };
  const tab = await world.open({ ticket: () => answer() });
  assert.equal(tab.feed.state, "offline");
  answer = async () => null;
  await world.pass(1_000);
  assert.equal(tab.feed.state, "stopped");
  assert.equal(tab.heard.at(-1).code, "no_ticket");
});

test("a dropped connection resumes where it was and shows nothing twice", async () => {
  const tab = await world.open();
  server.append();
  await world.settle();
  await server.cutAll();
  server.append();
  await world.pass(1_000);
  server.append();
  await world.settle();
  assert.match(last().url, /after=1&stream=alice-1$/);
  assert.deepEqual(tab.seen, [1, 2, 3]);
});

test("a number that was seen is dropped", async () => {
  const tab = await world.open();
  server.append();
  server.toUser("alice", server.stream("alice").log[0]);
  await world.settle();
  assert.deepEqual(tab.seen, [1]);
});

test("a gap in the numbers makes it resume from what it holds", async () => {
  const tab = await world.open();
  server.loses = 1;
  server.append();
  server.append();
  await world.settle();
  assert.deepEqual(tab.seen, [1, 2]);
  assert.equal(server.tries().length, 2);
});

test("a ping whose head is ahead makes it resume", async () => {
  const tab = await world.open();
  server.loses = 1;
  server.append();
  await world.pass(25_000);
  assert.deepEqual(tab.seen, [1]);
});

test("a server that contradicts itself is asked again with growing pauses only", async () => {
  await world.open();
  server.loses = 1;
  server.append();
  server.stream("alice").log.pop(); // the head says one, the log has none
  await world.pass(120_000);
  assert.ok(server.tries().length > 2 && server.tries().length < 12, String(server.tries().length));
});

test("a log with a hole is asked for with growing pauses only", async () => {
  for (let i = 0; i < 3; i++) server.append();
  server.stream("alice").log.splice(1, 1);
  const tab = await world.open({ after: 0 });
  await world.pass(60_000);
  assert.ok(server.tries().length > 2 && server.tries().length < 16, String(server.tries().length));
  assert.deepEqual(tab.seen, [1]);
});

test("a ping is answered", async () => {
  await world.open();
  await world.pass(25_000);
  assert.deepEqual(last().socket.sent, [{ type: "pong" }]);
});

test("a dead but open socket is noticed by the missing ping", async () => {
  const tab = await world.open();
  server.silent = true;
  server.append();
  await world.pass(34_000);
  assert.equal(tab.feed.state, "live");
  server.silent = false;
  await world.pass(2_100);
  assert.deepEqual(tab.seen, [1]);
  assert.equal(server.sockets.length, 1);
});

test("a laptop that slept looks at the clock on the wall and comes back on its first event", async () => {
  const tab = await world.open();
  last().socket.muted = true;
  server.append();
  world.now += 3_600_000; // timers did not run
  await tab.fire("visibilitychange");
  assert.deepEqual(tab.seen, [1]);
});

test("states go from connecting by catching-up to live", async () => {
  server.append();
  server.append();
  const tab = await world.open({ after: 0 });
  assert.deepEqual(tab.states, ["catching-up", "live"]);
  await server.cutAll();
  await world.pass(1_000);
  assert.deepEqual(tab.states.slice(2), ["offline", "connecting", "live"]);
});

test("a replay that is still moving is not disturbed by a ping and one that stands is asked for again", async () => {
  for (let i = 0; i < 3; i++) server.append();
  const log = server.stream("alice").log.splice(1); // the replay stops after the first
  const tab = await world.open({ after: 0 });
  assert.equal(tab.feed.state, "catching-up");
  server.toUser("alice", { type: "ping", head: 3 });
  await world.settle();
  assert.equal(server.tries().length, 1);
  server.stream("alice").log.push(...log);
  server.toUser("alice", { type: "ping", head: 3 });
  await world.settle();
  assert.deepEqual(tab.seen, [1, 2, 3]);
});

test("backoff is full jitter from half a second to twenty", async () => {
  server.up = false;
  for (const [random, bounds] of [[0, [500, 500]], [0.999999, [999, 20_000]]]) {
    server.attempts.length = 0;
    world.random = () => random;
    const { feed } = await world.open({ ticket: async () => "t" });
    await world.pass(200_000);
    const gaps = server.attempts.slice(1).map(({ at }, i) => at - server.attempts[i].at);
    assert.deepEqual([Math.floor(Math.min(...gaps)), Math.ceil(Math.max(...gaps))], bounds);
    feed.close();
  }
});

test("backoff starts over once a ping agrees", async () => {
  const tab = await world.open();
  const wait = () => tab.heard.filter(({ state }) => state === "offline").at(-1).retry_ms;
  for (let i = 0; i < 4; i++) {
    await server.cutAll();
    await world.pass(5_000);
  }
  assert.equal(wait(), 2_500);
  await world.pass(25_000);
  await server.cutAll();
  assert.equal(wait(), 750);
});

test("bye tells how long to stay away and waking up does not cut that short", async () => {
  const tab = await world.open();
  server.toUser("alice", { type: "bye", code: 4000, retry_ms: [8_000, 12_000] });
  await world.settle();
  assert.equal(tab.feed.state, "offline");
  await tab.fire("online");
  await world.pass(9_900);
  assert.equal(server.tries().length, 1);
  await world.pass(200);
  assert.equal(server.tries().length, 2);
  assert.equal(tab.feed.state, "live");
});

for (const type of ["online", "visibilitychange", "pageshow", "resume"])
  test(`it comes back at once on ${type}`, async () => {
    const tab = await world.open();
    await server.cutAll();
    assert.equal(tab.feed.state, "offline");
    await tab.fire(type);
    assert.equal(tab.feed.state, "live");
  });

test("a hidden page that changes visibility stays where it is", async () => {
  const tab = await world.open();
  await server.cutAll();
  tab.env.document.visibilityState = "hidden";
  await tab.fire("visibilitychange");
  assert.equal(tab.feed.state, "offline");
});

test("the browser's offline event is believed at once", async () => {
  const tab = await world.open();
  await tab.fire("offline");
  assert.equal(tab.feed.state, "offline");
  assert.equal(server.sockets.length, 0);
});

for (const code of [1006, 1009, 1011, 1012, 4000, 4001, 4002, 4003, 4004, 4005])
  test(`close code ${code} comes back`, async () => {
    const tab = await world.open();
    await server.cutAll(code);
    assert.equal(tab.heard.at(-1).code, code);
    await world.pass(1_000);
    assert.equal(tab.feed.state, "live");
  });

for (const code of [4500, 4501, 4502, 4503, 4504, 4599])
  test(`close code ${code} stops for good`, async () => {
    const tab = await world.open();
    await server.cutAll(code);
    assert.deepEqual([tab.feed.state, tab.heard.at(-1).code], ["stopped", code]);
    await tab.fire("online");
    await tab.fire("pageshow");
    await world.pass(60_000);
    assert.equal(server.tries().length, 1);
  });

test("a bye with a code that stops, stops", async () => {
  const tab = await world.open();
  server.toUser("alice", { type: "bye", code: 4502, retry_ms: [0, 0] });
  await world.settle();
  assert.equal(tab.feed.state, "stopped");
});

test("close ends the socket, the timers and the listeners", async () => {
  const tab = await world.open();
  tab.feed.close();
  await world.settle();
  assert.equal(tab.feed.state, "stopped");
  assert.equal(server.sockets.length, 0);
  assert.equal([...world.timers].filter((timer) => timer.tab === tab).length, 0);
  await tab.fire("pageshow");
  await world.pass(60_000);
  assert.equal(server.tries().length, 1);
  assert.deepEqual(tab.states, ["live", "stopped"]);
});

test("a page that closes the feed from a listener stays closed", async () => {
  for (const state of ["connecting", "live", "offline"]) {
    const tab = world.tab();
    const feed = tab.open();
    feed.addEventListener("state", ({ detail }) => detail.state === state && feed.close());
    await world.settle();
    await server.cutAll();
    await world.pass(60_000);
    assert.equal(feed.state, "stopped");
    assert.equal(server.links.size, 0);
  }
});

test("a reset moves to the head and is told to the page", async () => {
  for (let i = 0; i < 5; i++) server.append();
  server.stream("alice").trimmed = 3;
  const tab = await world.open({ after: 1, stream: server.stream("alice").id });
  const { type, reason, head } = tab.heard.find((event) => event.type === "reset");
  assert.deepEqual({ type, reason, head }, { type: "reset", reason: "trimmed", head: 5 });
  assert.deepEqual(tab.seen, []);
  assert.deepEqual([tab.feed.after, tab.feed.state], [5, "live"]);
  server.append();
  await world.settle();
  assert.deepEqual(tab.seen, [6]);
});

test("another stream and a position ahead of the server's are one reset each", async () => {
  server.append();
  const { id } = server.stream("alice");
  for (const place of [{ after: 1, stream: "restored-away" }, { after: 9, stream: id }]) {
    const tab = await world.open(place);
    assert.equal(tab.heard.filter(({ type }) => type === "reset").length, 1);
    assert.deepEqual([tab.feed.after, tab.feed.stream], [1, id]);
  }
});

test("a reset of a live connection counts from its head", async () => {
  for (let i = 0; i < 9; i++) server.append();
  const tab = await world.open({ after: 9 });
  server.toUser("alice", { type: "reset", stream: "restored", head: 7, reason: "unknown_stream" });
  await world.settle();
  assert.deepEqual([tab.feed.after, tab.feed.stream, tab.feed.state], [7, "restored", "live"]);
  server.toUser("alice", { type: "notification", seq: 8 });
  await world.settle();
  assert.deepEqual([tab.seen, tab.feed.unread], [[8], 10]);
});

test("an order never moves backwards", async () => {
  const tab = await world.open({ orders: [{ number: "SO-1", version: 5 }] });
  for (const version of [3, 4, 5, 8, 7]) server.append("alice", { number: "SO-1", version });
  tab.feed.saw({ number: "SO-2", version: 3 });
  server.append("alice", { number: "SO-2", version: 2 });
  await world.settle();
  assert.deepEqual(tab.seen, [1, 2, 3, 4, 5, 6]); // told, because they count as unread
  assert.deepEqual(tab.stale, [1, 2, 5, 6]); // but not to be drawn
});

test("an order's number is any text", async () => {
  const numbers = ["#1001", "INV/2024/001", "Ö-17", "A:1", "a?b=c&d", "__proto__", "constructor", '"<b>"', "注文 📦"];
  const tab = await world.open({ orders: numbers.map((number) => ({ number, version: 5 })) });
  for (const number of numbers) for (const version of [4, 6]) server.append("alice", { number, version });
  await world.settle();
  const told = tab.heard.filter(({ type }) => type === "notification").map(({ order, stale }) => [order.number, order.version, stale]);
  assert.deepEqual(told, numbers.flatMap((number) => [[number, 4, true], [number, 6, false]]));
});

test("of an order that is removed the version is forgotten, but for a removal that is older than what the page shows", async () => {
  const tab = await world.open({ orders: [{ number: "SO-1", version: 5 }, { number: "SO-2", version: 5 }] });
  const told = (kind, number, version) =>
    server.toUser("alice", { type: "notification", seq: ++server.stream("alice").head, kind, order: { number, version } });
  told("order.removed", "SO-1", 6);
  told("order.created", "SO-1", 1); // another one with its number
  told("order.removed", "SO-2", 4); // and back again, before the page was read
  told("order.updated", "SO-2", 4);
  await world.settle();
  assert.deepEqual([tab.seen, tab.stale], [[1, 2, 3, 4], [3, 4]]);
});

test("after a reset versions count anew", async () => {
  const tab = await world.open({ after: 0, orders: [{ number: "SO-1", version: 50 }], stream: "restored-away" });
  server.append("alice", { number: "SO-1", version: 2 });
  await world.settle();
  assert.deepEqual(tab.stale, []);
});

test("a tab remembers the versions of a thousand orders and no more", async () => {
  const tab = await world.open();
  for (let i = 0; i <= 1000; i++) tab.feed.saw({ number: `SO-${i}`, version: 9 });
  server.append("alice", { number: "SO-0", version: 1 });
  server.append("alice", { number: "SO-1000", version: 1 });
  await world.settle();
  assert.deepEqual(tab.stale, [2]);
});

test("a reload resumes from the stored position of the same user", async () => {
  const first = await world.open({ user: "alice" });
  server.append();
  await world.settle();
  first.feed.close();
  server.append();
  const second = await world.open({ user: "alice" });
  assert.deepEqual(second.seen, [2]);
  const bob = await world.open({ user: "bob" });
  assert.ok(!last().url.includes("after"));
  assert.deepEqual(bob.seen, []);
});

test("storage that throws, is switched off or holds rubbish costs the resume and nothing else", async () => {
  const throws = { getItem() { throw new Error("SecurityError"); }, setItem() { throw new Error("QuotaExceededError"); } };
  for (const storage of [null, throws, { getItem: () => "{", setItem() {} }]) {
    const tab = await world.open({ storage });
    server.append();
    await world.settle();
    assert.equal(tab.seen.length, 1);
  }
  assert.equal(world.storage.size, 0);
});

test("unread counts the welcome, then what comes, then what is read", async () => {
  for (let i = 0; i < 3; i++) server.append();
  const tab = await world.open({ after: 1 });
  assert.equal(tab.feed.unread, 3);
  server.append();
  await world.settle();
  assert.equal(tab.feed.unread, 4);
  tab.feed.markRead();
  await world.settle();
  assert.equal(tab.feed.unread, 0);
  assert.deepEqual(tab.heard.at(-1), { type: "read", up_to: 4, unread: 0 });
});

test("unread is right also when what is read overtakes what it counts", async () => {
  const tab = await world.open({ after: 0 });
  server.loses = 3;
  for (let i = 0; i < 3; i++) server.append();
  const stream = server.stream("alice");
  stream.read = 1; // in another browser
  server.toUser("alice", { type: "read", up_to: 1, unread: 2 });
  await world.settle();
  assert.equal(tab.feed.unread, 2);
  stream.log.forEach((frame) => server.toUser("alice", frame));
  await world.settle();
  assert.deepEqual([tab.seen, tab.feed.unread, tab.feed.state], [[1, 2, 3], 2, "live"]);
});

test("a ping repairs what was read elsewhere and never told", async () => {
  for (let i = 0; i < 3; i++) server.append();
  const tab = await world.open({ after: 3 });
  server.stream("alice").read = 2; // in another browser, and the word of it was lost
  await world.pass(25_000);
  assert.equal(tab.feed.unread, 1);
  assert.deepEqual(tab.heard.at(-1), { type: "read", up_to: 2, unread: 1 });
  const told = tab.heard.length;
  await world.pass(60_000);
  assert.equal(tab.heard.length, told); // once
});

test("a ping confirms a read mark whose answer was lost", async () => {
  server.append();
  const tab = await world.open({ after: 1 });
  server.readsUnheard = true;
  tab.feed.markRead();
  await world.pass(25_000);
  assert.equal(tab.feed.unread, 0);
  server.readsUnheard = false;
  await server.cutAll();
  await world.pass(1_000);
  assert.deepEqual(last().socket.sent, []); // nothing is left to be sent again
});

test("a ping of a stream whose beginning is gone counts nothing that cannot be read", async () => {
  for (let i = 0; i < 5; i++) server.append();
  const tab = await world.open({ after: 5 });
  server.toUser("alice", { type: "read", up_to: 0, unread: 1 }); // four were trimmed
  server.toUser("alice", { type: "welcome", user: "alice", stream: "alice-1", head: 5, after: 5, unread: 1 });
  server.toUser("alice", { type: "ping", head: 5, read_up_to: 0 });
  await world.settle();
  assert.equal(tab.feed.unread, 1);
});

test("a read mark that is told late does not uncount what came after it", async () => {
  for (let i = 0; i < 3; i++) server.append();
  const tab = await world.open({ after: 3 });
  server.append();
  server.toUser("alice", { type: "read", up_to: 2, unread: 1 }); // counted before the fourth
  await world.settle();
  assert.equal(tab.feed.unread, 2);
});

test("what was marked as read while offline is sent after the next welcome, once confirmed no more", async () => {
  server.append();
  const tab = await world.open({ after: 0 });
  assert.equal(tab.feed.stream, "alice-1"); // learned, where the page did not tell
  await server.cutAll();
  tab.feed.markRead(1);
  await world.pass(1_000);
  assert.equal(server.stream("alice").read, 1);
  assert.equal(tab.feed.unread, 0);
  await server.cutAll();
  await world.pass(2_000);
  assert.deepEqual(last().socket.sent, []);
});

test("a page of one user never shows another user's feed", async () => {
  server.append("bob");
  for (const options of [{ user: "alice" }, {}]) {
    world.cookieUser = "alice";
    const tab = await world.open({ ...options, after: 0 });
    world.cookieUser = "bob"; // somebody else logged in
    await server.cutAll();
    await world.pass(1_000);
    server.append("bob");
    await world.settle();
    assert.deepEqual([tab.feed.state, tab.heard.at(-1).code], ["stopped", "another_user"]);
    assert.deepEqual(tab.seen, []);
  }
});

test("progress, a board's orders and errors reach the page", async () => {
  const tab = await world.open();
  server.toUser("alice", { type: "progress", import: 7, done: 1, total: 2, rejected: 0 });
  server.toUser("alice", { type: "order", order: { number: "SO-1", version: 2, status: "shipped" } });
  server.toUser("alice", { type: "error", code: "bad_frame", detail: "No." });
  server.toUser("alice", { type: "something_new" });
  await world.settle();
  assert.deepEqual(tab.heard.slice(-3).map(({ type }) => type), ["progress", "order", "error"]);
  assert.equal(tab.feed.state, "live");
});

test("what is not JSON is a lost connection", async () => {
  const tab = await world.open();
  last().socket.onmessage({ data: "<html>" });
  await world.settle();
  assert.equal(tab.feed.state, "offline");
  await world.pass(1_000);
  assert.equal(tab.feed.state, "live");
});

test("a page in the back-forward cache holds nothing and resumes when it is shown again", async () => {
  for (const [leave, enter] of [["pagehide", "pageshow"], ["freeze", "resume"]]) {
    const tab = await world.open();
    await tab.fire(leave);
    assert.equal(server.links.size, 0);
    server.append();
    await tab.fire(enter);
    assert.equal(tab.seen.length, 1);
    tab.feed.close();
    await world.settle();
  }
});
