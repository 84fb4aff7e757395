/** A page that begins with a snapshot: its position, what arrives before it, and what happens when it fails. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { World } from "./world.mjs";

let world, server;
beforeEach(() => {
  world = new World();
  server = world.server;
});
const snapshot = () => server.snapshot();
const snapshots = ({ heard }) => heard.filter(({ type }) => type === "snapshot");

test("a snapshot is told to the page and the feed goes on from its position", async () => {
  server.append("alice", { number: "SO-1", version: 4 });
  server.append("alice", { number: "SO-2", version: 1 });
  const tab = await world.open({ snapshot });
  const [{ head, orders }] = snapshots(tab);
  assert.deepEqual([head, orders.length, tab.feed.after, tab.feed.stream, tab.feed.state, tab.feed.unread], [2, 2, 2, "alice-1", "live", 2]);
  server.append("alice", { number: "SO-1", version: 3 });
  await world.settle();
  assert.deepEqual([tab.seen, tab.stale, snapshots(tab).length], [[3], [3], 1]); // its versions are known
});

test("what arrives before the snapshot is applied after it, nothing lost and nothing twice", async () => {
  server.append();
  server.holds = true;
  const tab = await world.open({ snapshot });
  server.append(); // after the snapshot was read, before it arrives
  server.append();
  server.toUser("alice", { type: "order", order: { number: "SO-9", version: 2, status: "shipped" } });
  await world.settle();
  assert.deepEqual([tab.seen, tab.feed.state, tab.feed.unread], [[], "catching-up", 3]);
  await server.letGo();
  assert.deepEqual(tab.heard.slice(-5).map(({ type, seq }) => seq ?? type), ["snapshot", 2, 3, "order", "state"]);
  assert.deepEqual([tab.feed.state, tab.feed.unread], ["live", 3]);
  assert.equal(server.tries().length, 1); // what waited was enough
});

test("what the snapshot has already is not told again", async () => {
  server.holds = true;
  const late = async () => {
    await server.snapshot();
    server.holds = false;
    return server.snapshot();
  };
  const tab = await world.open({ snapshot: late });
  server.append();
  server.append();
  await server.letGo();
  assert.deepEqual([tab.seen, tab.feed.after, tab.feed.unread, tab.feed.state], [[], 2, 2, "live"]);
});

test("a snapshot that is older than the connection makes it resume from the snapshot", async () => {
  server.append();
  server.holds = true;
  const tab = world.tab();
  tab.open({ snapshot });
  server.attempts.length = 0;
  await server.cutAll();
  await world.settle();
  server.append(); // while the tab had no connection
  await world.pass(1_000);
  await server.cutAll();
  server.append();
  await world.pass(2_000);
  await server.letGo();
  await world.pass(2_000);
  assert.deepEqual([tab.seen, tab.feed.state], [[2, 3], "live"]);
});

test("a snapshot that fails is taken again with growing pauses and the feed is not live before", async () => {
  let fails = true;
  const tab = await world.open({ snapshot: async () => { if (fails) throw new Error("502"); return snapshot(); } });
  server.append();
  await world.pass(30_000);
  assert.equal(tab.feed.state, "catching-up");
  assert.match(tab.heard.findLast(({ type }) => type === "state").detail, /^snapshot: Error: 502/);
  assert.equal(world.warnings.length, 1);
  assert.ok(!tab.states.includes("live"));
  fails = false;
  await world.pass(20_000);
  assert.deepEqual([tab.feed.state, tab.feed.after, tab.seen], ["live", 1, []]);
});

test("pauses between snapshots grow from half a second to twenty", async () => {
  world.random = () => 0.999999;
  const times = [];
  await world.open({ snapshot: async () => { times.push(world.now); throw new Error("502"); } });
  await world.pass(200_000);
  const gaps = times.slice(1).map((at, i) => Math.round((at - times[i]) / 1000));
  assert.ok(gaps[0] <= 2 && gaps.at(-1) === 20 && times.length < 18, String(gaps));
});

test("a snapshot that never answers is taken again", async () => {
  let asked = 0;
  const tab = await world.open({ snapshot: () => (asked++ ? snapshot() : new Promise(() => {})) });
  await world.pass(31_000);
  assert.deepEqual([tab.feed.state, snapshots(tab).length], ["live", 1]);
});

for (const wrong of [undefined, {}, { stream: "s" }, { stream: "s", head: "41" }, []])
  test(`what is no snapshot, ${JSON.stringify(wrong)}, is told and asked for again`, async () => {
    let answer = wrong;
    const tab = await world.open({ snapshot: async () => answer });
    assert.deepEqual([tab.feed.state, snapshots(tab).length], ["catching-up", 0]);
    assert.match(world.warnings[0], /snapshot: .*(stream|head)/);
    answer = await snapshot();
    await world.pass(2_000);
    assert.equal(tab.feed.state, "live");
  });

test("null for a snapshot stops the feed", async () => {
  const tab = await world.open({ snapshot: async () => null });
  assert.deepEqual([tab.feed.state, tab.heard.at(-1).code], ["stopped", "no_snapshot"]);
  assert.equal(server.links.size, 0);
});

test("a snapshot of another user is not shown", async () => {
  const tab = await world.open({ user: "alice", snapshot: () => server.snapshot("bob") });
  assert.deepEqual([tab.feed.state, tab.heard.at(-1).code, snapshots(tab).length], ["stopped", "another_user", 0]);
});

test("after a reset a snapshot is taken and the feed is not live before it came", async () => {
  for (let i = 0; i < 5; i++) server.append();
  const { id } = server.stream("alice");
  server.stream("alice").trimmed = 3;
  server.holds = true;
  const tab = await world.open({ after: 1, stream: id, snapshot });
  assert.equal(snapshots(tab).length, 0); // the page said what it shows
  assert.equal(tab.feed.state, "catching-up");
  server.append();
  await server.letGo();
  assert.deepEqual(tab.heard.map(({ type, seq }) => seq ?? type).filter((type) => type !== "state"), ["welcome", "reset", "snapshot", 6]);
  assert.deepEqual([tab.feed.state, tab.feed.after], ["live", 6]);
});

test("a page that says its position takes no snapshot at the start", async () => {
  await world.open({ after: 0, snapshot });
  assert.equal(server.tries("snapshot").length, 0);
});

test("a stored position does not stand for a snapshot", async () => {
  world.storage.set('orderwire:["ws://shop.test/ws/notifications",null]', '["alice-1",0]');
  server.append();
  const tab = await world.open({ snapshot });
  assert.deepEqual([snapshots(tab).length, tab.seen, tab.feed.after], [1, [], 1]);
});

test("a stream that begins anew while the snapshot is on its way leads to another snapshot", async () => {
  for (let i = 0; i < 4; i++) server.append();
  server.holds = true;
  const tab = await world.open({ snapshot });
  server.streams.delete("alice"); // a backup is restored
  server.append();
  server.holds = false;
  await server.cutAll();
  await world.pass(1_000);
  await server.letGo();
  await world.pass(3_000);
  const { id } = server.stream("alice");
  assert.deepEqual([tab.feed.stream, tab.feed.after, tab.feed.state], [id, 1, "live"]);
  server.append();
  await world.settle();
  assert.deepEqual(tab.seen, [2]);
});

test("snapshots that lead to resets are taken with growing pauses only", async () => {
  for (let i = 0; i < 5; i++) server.append();
  server.stream("alice").trimmed = 4;
  await world.open({ snapshot: async () => ({ ...(await snapshot()), head: 1 }) }); // a replica that stands still
  await world.pass(120_000);
  assert.ok(server.tries("snapshot").length > 2 && server.tries("snapshot").length < 16, String(server.tries("snapshot").length));
});

test("a connection that came back takes the snapshot at once", async () => {
  server.up = false;
  const tab = await world.open({ ticket: async () => "t", snapshot });
  server.tickets.set("t", "alice");
  world.random = () => 0.999999;
  await world.pass(45_000); // both wait long by now
  server.up = true;
  await tab.fire("online");
  assert.deepEqual([tab.feed.state, snapshots(tab).length], ["live", 1]);
});

test("a closed feed takes no snapshot and tells none", async () => {
  server.holds = true;
  const tab = await world.open({ snapshot });
  tab.feed.close();
  await server.letGo();
  await world.pass(60_000);
  assert.deepEqual([snapshots(tab).length, server.tries("snapshot").length], [0, 1]);
});

test("a page that closes the feed when it gets the snapshot hears no more", async () => {
  server.holds = true;
  const tab = world.tab();
  tab.open({ snapshot }).addEventListener("snapshot", () => tab.feed.close());
  await world.settle();
  server.append();
  await server.letGo();
  assert.deepEqual([tab.seen, tab.feed.state, server.links.size], [[], "stopped", 0]);
});

test("each tab has its own snapshot over one connection", async () => {
  server.append();
  const alice = { user: "alice", snapshot };
  const first = await world.open(alice);
  server.append();
  server.holds = true;
  const second = await world.open(alice);
  server.append();
  await server.letGo();
  assert.deepEqual([first.seen, second.seen], [[2, 3], [3]]);
  assert.deepEqual([first.feed.state, second.feed.state, server.tries().length], ["live", "live", 1]);
});

test("a tab that still waits for its snapshot leads the others without a loss", async () => {
  server.append();
  const { id } = server.stream("alice");
  server.holds = true;
  const leader = await world.open({ user: "alice", snapshot });
  server.append();
  await world.settle();
  const other = await world.open({ user: "alice", after: 1, stream: id });
  assert.deepEqual([leader.seen, other.seen, other.feed.state], [[], [2], "live"]);
  await server.letGo();
  assert.deepEqual([leader.seen, leader.feed.state], [[2], "live"]);
});

test("what waited of a former stream is not told", async () => {
  let fails = true;
  const tab = await world.open({ snapshot: async () => { if (fails) throw new Error("502"); return snapshot(); } });
  server.append();
  server.append();
  await world.settle();
  server.streams.delete("alice"); // a backup is restored
  server.append();
  fails = false;
  await server.cutAll();
  await world.pass(3_000);
  assert.deepEqual([tab.seen, tab.feed.after, tab.feed.state], [[], 1, "live"]);
});

test("a gap behind a snapshot does not end a wait that the server has set", async () => {
  server.holds = true;
  const tab = await world.open({ snapshot });
  server.append();
  server.loses = 1;
  server.append();
  server.append();
  server.toUser("alice", { type: "bye", code: 4000, retry_ms: [8_000, 12_000] });
  await world.settle();
  await server.letGo();
  await world.pass(7_000);
  assert.deepEqual([tab.seen, tab.feed.state, server.tries().length], [[1], "offline", 1]);
  await world.pass(5_100);
  assert.deepEqual([tab.seen, tab.feed.state], [[1, 2, 3], "live"]);
});

test("what was lost while the snapshot was on its way is counted for the other tabs", async () => {
  server.holds = true;
  await world.open({ user: "alice", snapshot });
  server.loses = 1;
  server.append();
  server.append();
  await world.settle();
  const other = await world.open({ user: "alice", after: 2, stream: "alice-1" });
  assert.equal(other.feed.unread, 2);
});
