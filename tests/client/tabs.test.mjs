/** Many tabs, one connection: who leads, how the others follow, and that nothing is lost in between. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { World } from "./world.mjs";

let world, server;
const alice = { user: "alice" };
beforeEach(() => {
  world = new World();
  server = world.server;
});
const three = async () => [await world.open(alice), await world.open(alice), await world.open(alice)];

test("three tabs share one socket and see the same", async () => {
  const tabs = await three();
  server.append();
  await world.settle();
  assert.equal(server.tries().length, 1);
  assert.deepEqual(tabs.map(({ seen }) => seen), [[1], [1], [1]]);
  assert.deepEqual(tabs.map(({ feed }) => feed.state), ["live", "live", "live"]);
  assert.deepEqual(tabs.map(({ heard }) => heard.filter(({ type }) => type === "welcome").length), [1, 1, 1]);
});

for (const end of ["close", "pagehide", "crash"])
  test(`another tab takes over after the leader's ${end} and nothing is lost`, async () => {
    const [leader, ...others] = await three();
    server.append();
    await world.settle();
    if (end === "close") leader.feed.close();
    else if (end === "crash") leader.crash();
    else leader.env.dispatchEvent(new Event(end));
    server.append();
    await world.settle();
    server.append();
    await world.settle();
    assert.deepEqual(others.map(({ seen }) => seen), [[1, 2, 3], [1, 2, 3]]);
    assert.equal(server.sockets.length, 1);
    assert.equal(server.tries().length, 2);
    assert.equal(leader.channels.size, 0);
  });

test("closing a follower changes nothing for the others", async () => {
  const [leader, follower] = await three();
  follower.feed.close();
  follower.feed.markRead(1); // too late, and no error
  await world.pass(60_000);
  assert.equal(server.tries().length, 1);
  assert.equal(leader.feed.state, "live");
});

test("a tab with an older position gets the rest and the others see nothing twice", async () => {
  const [leader] = await three();
  for (let i = 0; i < 3; i++) server.append();
  await world.settle();
  const late = await world.open({ ...alice, after: 1, stream: server.stream("alice").id });
  assert.deepEqual(late.seen, [2, 3]);
  assert.deepEqual(leader.seen, [1, 2, 3]);
  assert.equal(server.sockets.length, 1);
  assert.deepEqual(world.writes.map((value) => JSON.parse(value)[1]), [0, 1, 2, 3]); // the stored place never goes back
  await server.cutAll();
  await world.pass(2_000);
  assert.match(server.tries().at(-1).url, /after=3&/); // asked for once
});

test("two tabs with older positions cost one new connection", async () => {
  await world.open(alice);
  for (let i = 0; i < 3; i++) server.append();
  await world.settle();
  const late = [world.tab(), world.tab()];
  late.forEach((tab, i) => tab.open({ ...alice, after: i + 1, stream: server.stream("alice").id }));
  await world.settle();
  assert.deepEqual(late.map(({ seen }) => seen), [[2, 3], [3]]);
  assert.equal(server.tries().length, 2);
});

test("a slow tab that missed something asks once", async () => {
  const [, follower] = await three();
  const [channel] = follower.channels;
  const listener = channel.onmessage;
  channel.onmessage = null;
  server.append();
  await world.settle();
  channel.onmessage = listener;
  follower.hang();
  for (let i = 0; i < 4; i++) server.append();
  await world.settle();
  follower.hung = false; // hears one frame and is slow again
  world.tasks.push(follower.held.shift(), { act: () => follower.hang() });
  await world.settle();
  assert.equal(server.tries().length, 2);
  await follower.wakeUp();
  assert.deepEqual(world.tabs.map(({ feed }) => feed.state), ["live", "live", "live"]); // nobody reconnects again
  assert.equal(server.tries().length, 2);
  assert.deepEqual(follower.seen, [1, 2, 3, 4, 5]);
});

test("a tab that opens amid a burst begins where the leader is", async () => {
  await world.open({ ...alice, storage: null });
  for (let i = 0; i < 5; i++) server.append();
  const late = await world.open({ ...alice, storage: null });
  server.append();
  await world.settle();
  assert.equal(server.tries().length, 1);
  assert.deepEqual([late.seen, late.feed.state, late.feed.unread], [[6], "live", 6]);
});

test("a tab that opens during a replay counts nothing twice", async () => {
  for (let i = 0; i < 3; i++) server.append();
  const rest = server.stream("alice").log.splice(1); // the replay is on its way
  const leader = await world.open({ ...alice, after: 0 });
  const late = await world.open({ ...alice, after: 1 });
  assert.deepEqual([leader.feed.state, late.feed.state], ["catching-up", "catching-up"]);
  for (const frame of rest) server.toUser("alice", frame);
  await world.settle();
  assert.deepEqual([late.seen, late.feed.unread, late.feed.state], [[2, 3], 3, "live"]);
});

test("a tab with a newer position than the leader's waits for what follows it", async () => {
  const leader = await world.open(alice);
  server.loses = 2;
  server.append();
  server.append();
  const late = await world.open({ ...alice, after: 2, stream: server.stream("alice").id });
  server.append();
  await world.pass(2_000);
  assert.deepEqual(leader.seen, [1, 2, 3]);
  assert.deepEqual(late.seen, [3]);
  assert.deepEqual([leader.feed.unread, late.feed.unread], [3, 3]);
});

test("a tab without a position begins where the leader is", async () => {
  await world.open({ ...alice, storage: null });
  server.append();
  await world.settle();
  const late = await world.open({ ...alice, storage: null });
  assert.equal(server.tries().length, 1);
  assert.equal(late.feed.after, 1);
  assert.deepEqual(late.seen, []);
});

test("a tab that opens while the others are offline brings them back", async () => {
  const [leader] = await three();
  await server.cutAll();
  assert.equal(leader.feed.state, "offline");
  const late = await world.open(alice);
  assert.deepEqual([leader.feed.state, late.feed.state], ["live", "live"]);
});

test("a follower that missed a message asks for it", async () => {
  const [, follower] = await three();
  const [channel] = follower.channels;
  const listener = channel.onmessage;
  channel.onmessage = null;
  server.append();
  await world.settle();
  channel.onmessage = listener;
  server.append();
  await world.settle();
  assert.deepEqual(follower.seen, [1, 2]);
});

test("a follower that missed the last message learns it from the ping", async () => {
  const [, follower] = await three();
  const [channel] = follower.channels;
  const listener = channel.onmessage;
  channel.onmessage = null;
  server.append();
  await world.settle();
  channel.onmessage = listener;
  await world.pass(25_000);
  assert.deepEqual(follower.seen, [1]);
});

test("a frozen leader is replaced by the tab that somebody looks at", async () => {
  const [leader, follower] = await three();
  leader.hang();
  server.append();
  await world.settle();
  assert.deepEqual(follower.seen, []);
  await follower.fire("visibilitychange");
  await world.pass(3_100);
  assert.deepEqual(follower.seen, [1]);
  await leader.wakeUp();
  await world.pass(1_000);
  server.append();
  await world.settle();
  assert.deepEqual([leader.seen, follower.seen], [[1, 2], [1, 2]]);
  assert.equal(server.sockets.length, 1);
  for (const tab of world.tabs) if (tab !== leader) tab.feed.close();
  await world.settle();
  server.append();
  await world.settle();
  assert.deepEqual(leader.seen, [1, 2, 3]); // it is in the queue again
});

test("a leader that learns late of the theft asks what it missed", async () => {
  world.lateTheft = 5_000;
  const [leader, follower] = await three();
  leader.hang();
  server.sockets[0].muted = true; // its own connection tells it nothing
  server.append();
  await follower.fire("visibilitychange");
  await world.pass(3_100);
  assert.deepEqual(follower.seen, [1]);
  await leader.wakeUp();
  assert.deepEqual(leader.seen, []); // it still believes that it leads
  await world.pass(6_000);
  assert.deepEqual(leader.seen, [1]);
});

test("a frozen leader is noticed by the missing ping as well", async () => {
  const [leader, follower, third] = await three();
  leader.hang();
  server.append();
  await world.pass(39_000);
  assert.deepEqual([follower.seen, third.seen], [[1], [1]]);
});

test("a hidden leader whose timers are held up is reminded", async () => {
  const [leader, follower] = await three();
  await server.cutAll();
  for (const timer of world.timers) if (timer.tab === leader) timer.at += 60_000;
  await world.pass(5_000);
  assert.equal(follower.feed.state, "live");
  assert.equal(server.sockets.length, 1);
});

test("a leader that waits as the server ordered is not reminded", async () => {
  await three();
  server.toUser("alice", { type: "bye", code: 4000, retry_ms: [30_000, 30_000] });
  await world.pass(10_000);
  const late = await world.open(alice);
  await world.pass(19_000);
  assert.equal(late.feed.state, "offline");
  assert.equal(server.tries().length, 1);
  await world.pass(1_100);
  assert.equal(server.sockets.length, 1);
});

test("read marks of any tab reach the server and every tab", async () => {
  const tabs = await three();
  server.append();
  await world.settle();
  tabs[2].feed.markRead();
  await world.settle();
  assert.equal(server.stream("alice").read, 1);
  assert.deepEqual(tabs.map(({ feed }) => feed.unread), [0, 0, 0]);
});

test("log-out stops every tab", async () => {
  const tabs = await three();
  await server.cutAll(4502);
  assert.deepEqual(tabs.map(({ feed }) => feed.state), ["stopped", "stopped", "stopped"]);
  await world.pass(60_000);
  assert.equal(server.tries().length, 1);
});

test("a refused tab that opens later asks for itself", async () => {
  await three();
  await server.cutAll(4503);
  const late = await world.open(alice);
  assert.equal(late.feed.state, "live");
});

test("a reset for one tab's lost place leaves the tabs at the head alone", async () => {
  for (let i = 0; i < 5; i++) server.append();
  const { id } = server.stream("alice");
  server.stream("alice").trimmed = 4;
  const leader = await world.open({ ...alice, after: 5, stream: id });
  const lost = await world.open({ ...alice, after: 1, stream: id });
  const resets = ({ heard }) => heard.filter(({ type }) => type === "reset").length;
  assert.deepEqual([resets(leader), resets(lost)], [0, 1]);
  assert.equal(lost.feed.after, 5);
});

test("a tab ahead of the server, after a restored backup, is reset by the next ping", async () => {
  server.append();
  const leader = await world.open(alice);
  const ahead = await world.open({ ...alice, after: 9, stream: server.stream("alice").id });
  await world.pass(25_000);
  assert.equal(ahead.heard.find(({ type }) => type === "reset").reason, "ahead");
  assert.deepEqual([ahead.feed.after, leader.feed.after], [1, 1]);
  assert.ok(!leader.heard.some(({ type }) => type === "reset"));
});

test("a tab of a former stream is reset by what the others know", async () => {
  server.append();
  await world.open(alice);
  const lost = await world.open({ ...alice, after: 9, stream: "restored-away" });
  assert.equal(lost.heard.find(({ type }) => type === "reset").reason, "unknown_stream");
  assert.deepEqual([lost.feed.after, lost.feed.stream], [1, server.stream("alice").id]);
});

test("tabs of different users never share", async () => {
  const tab = await world.open(alice);
  world.cookieUser = "bob";
  const bobs = await world.open({ user: "bob" });
  server.append("bob");
  await world.settle();
  assert.equal(server.sockets.length, 2);
  assert.deepEqual([tab.seen, bobs.seen], [[], [1]]);
});

test("tabs that do not say whose they are do not share", async () => {
  await world.open();
  await world.open();
  assert.equal(server.sockets.length, 2);
});

test("a tab that wants its own connection has it", async () => {
  await world.open(alice);
  await world.open({ ...alice, shared: false });
  assert.equal(server.sockets.length, 2);
});

for (const name of ["locks", "BroadcastChannel"])
  test(`without ${name} each tab has its own socket`, async () => {
    await world.open(alice, { without: [name] });
    await world.open(alice, { without: [name] });
    assert.equal(server.sockets.length, 2);
  });

test("a frame that is refused locks goes alone", async () => {
  const tab = world.tab();
  tab.env.navigator.locks.request = async () => { throw new DOMException("", "SecurityError"); };
  tab.open(alice);
  await world.settle();
  assert.equal(tab.feed.state, "live");
});

test("fallbacks are shared like sockets", async () => {
  server.blocked = true;
  const tabs = await three();
  await world.pass(10_000);
  server.append();
  await world.settle();
  assert.deepEqual(tabs.map(({ seen }) => seen), [[1], [1], [1]]);
  assert.deepEqual(tabs.map(({ feed }) => feed.transport), ["sse", "sse", "sse"]);
  assert.equal(server.links.size, 1);
});
