/** Where WebSockets are blocked: server-sent events, then long polling. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { World } from "./world.mjs";

let world, server;
beforeEach(() => {
  world = new World();
  server = world.server;
});
const kinds = () => server.attempts.map(({ kind }) => kind);

for (const fault of ["blocked", "swallows"])
  test(`server-sent events carry on where WebSockets are ${fault}`, async () => {
    server[fault] = true;
    server.append();
    const tab = await world.open({ after: 0, user: "alice" });
    await world.pass(30_000);
    assert.deepEqual(kinds(), ["websocket", "websocket", "sse"]);
    assert.equal(server.tries("sse")[0].url, "http://shop.test/api/v1/stream?after=0");
    server.append();
    await world.settle();
    assert.deepEqual(tab.seen, [1, 2]);
    assert.deepEqual([tab.feed.state, tab.feed.transport], ["live", "sse"]);
    await server.cutAll();
    server.append();
    await world.pass(2_000);
    assert.equal(kinds().at(-1), "sse");
    assert.deepEqual(tab.seen, [1, 2, 3]);
  });

test("a browser without WebSocket or EventSource polls", async () => {
  const tab = await world.open({}, { without: ["WebSocket", "EventSource"] });
  await world.pass(10_000);
  server.append();
  await world.settle();
  assert.deepEqual([tab.feed.transport, tab.seen], ["polling", [1]]);
});

for (const buffers of [true, false])
  test(`long polling carries on where an event stream is ${buffers ? "held back" : "blocked"}`, async () => {
    server.blocked = buffers || "sse";
    server.buffers = buffers;
    for (let i = 0; i < 3; i++) server.append();
    const { id } = server.stream("alice");
    const tab = await world.open({ after: 1, stream: id, user: "alice" });
    await world.pass(25_000);
    assert.deepEqual(kinds().slice(0, 5), ["websocket", "websocket", "sse", "fetch", "fetch"]);
    assert.deepEqual(server.tries("fetch").slice(0, 2).map(({ url }) => url), [
      `http://shop.test/api/v1/notifications?after=1&stream=${id}`,
      `http://shop.test/api/v1/notifications?wait=25&after=3&stream=${id}`,
    ]);
    server.append();
    await world.settle();
    assert.deepEqual(tab.seen, [2, 3, 4]);
    assert.deepEqual([tab.feed.state, tab.feed.unread], ["live", 4]);
    await world.pass(120_000);
    assert.equal(tab.feed.state, "live");
    assert.deepEqual(tab.seen, [2, 3, 4]);
  });

test("polling without a position begins at the head", async () => {
  server.blocked = "sse";
  server.append();
  const tab = await world.open();
  await world.pass(10_000);
  assert.deepEqual([tab.feed.transport, tab.feed.after, tab.seen], ["polling", 1, []]);
});

test("polling says reset when its place is gone", async () => {
  server.blocked = "sse";
  for (let i = 0; i < 5; i++) server.append();
  const { id } = server.stream("alice");
  server.stream("alice").trimmed = 3;
  for (const [place, reason] of [
    [{ after: 1, stream: id }, "trimmed"], [{ after: 9, stream: id }, "ahead"], [{ after: 5, stream: "gone" }, "unknown_stream"],
  ]) {
    const tab = await world.open(place);
    await world.pass(15_000);
    assert.deepEqual(tab.heard.filter(({ type }) => type === "reset").map((event) => event.reason), [reason]);
    assert.deepEqual([tab.feed.after, tab.feed.stream, tab.feed.state], [5, id, "live"]);
    tab.feed.close();
    await world.settle();
  }
});

test("an empty log behind a head is a reset too", async () => {
  server.blocked = "sse";
  for (let i = 0; i < 5; i++) server.append();
  server.stream("alice").log.length = 0;
  const tab = await world.open({ after: 1, stream: server.stream("alice").id });
  await world.pass(15_000);
  assert.deepEqual([tab.heard.find(({ type }) => type === "reset").reason, tab.feed.after], ["trimmed", 5]);
});

test("read marks go over HTTP with the CSRF token", async () => {
  server.blocked = true;
  server.append();
  const tab = await world.open({ after: 0 });
  await world.pass(5_000);
  tab.feed.markRead();
  await world.settle();
  assert.equal(server.stream("alice").read, 1);
  assert.deepEqual(tab.heard.at(-1), { type: "read", up_to: 1, unread: 0 });
});

test("a poll that is refused stops the feed", async () => {
  server.blocked = "sse";
  world.cookieUser = null;
  const tab = await world.open();
  await world.pass(15_000);
  assert.deepEqual([tab.feed.state, tab.heard.at(-1).code], ["stopped", 4500]);
});

test("a poll of another user's session stops the feed", async () => {
  server.blocked = "sse";
  const tab = await world.open({ user: "alice" });
  await world.pass(15_000);
  server.append("bob");
  world.cookieUser = "bob";
  await world.pass(60_000);
  assert.deepEqual([tab.feed.state, tab.seen], ["stopped", []]);
});

test("a server that is down is not taken for a proxy", async () => {
  server.up = false;
  const tab = await world.open({ after: 0 });
  await world.pass(60_000);
  assert.deepEqual(kinds().slice(0, 6), ["websocket", "websocket", "sse", "fetch", "websocket", "websocket"]);
  assert.ok(server.attempts[4].at - server.attempts[3].at < 5_000); // a failed request is known at once
  server.up = true;
  await world.pass(60_000);
  assert.equal(tab.feed.state, "live");
});

test("a WebSocket that once opened is trusted through a deploy", async () => {
  const tab = await world.open();
  server.up = false;
  await server.cutAll();
  await world.pass(120_000);
  server.up = true;
  server.append();
  await world.pass(20_000);
  assert.deepEqual([...new Set(kinds())], ["websocket"]);
  assert.deepEqual(tab.seen, [1]);
});

test("a server that answers with a close code is not blocked", async () => {
  server.refuses = 4004;
  await world.open();
  await world.pass(120_000);
  assert.deepEqual([...new Set(kinds())], ["websocket"]);
});

test("an event stream that says busy is not blocked", async () => {
  server.blocked = true;
  server.refuses = 4004;
  const tab = await world.open();
  await world.pass(10_000);
  assert.deepEqual([...new Set(kinds())], ["websocket", "sse"]);
  assert.equal(tab.heard.findLast(({ state }) => state === "offline").code, 4004);
  server.refuses = 0;
  await world.pass(20_000);
  assert.deepEqual([tab.feed.state, tab.feed.transport], ["live", "sse"]);
});

test("what was read elsewhere is told by the next poll", async () => {
  server.blocked = "sse";
  const tab = await world.open({ after: 0 });
  for (let i = 0; i < 3; i++) server.append();
  await world.pass(15_000);
  assert.deepEqual([tab.feed.transport, tab.feed.unread], ["polling", 3]);
  server.stream("alice").read = 2;
  await world.pass(26_000);
  assert.equal(tab.feed.unread, 1);
  assert.deepEqual(tab.heard.at(-1), { type: "read", up_to: 2, unread: 1 });
});

/** As a page on another origin has it: no cookie, and a fresh ticket of alice's for each connection. */
const elsewhere = () => {
  world.cookieUser = null;
  let number = 0;
  return {
    url: "https://orderwire.test/ws/notifications",
    ticket: async () => {
      server.tickets.set(`secret${++number}`, "alice");
      return { ticket: `secret${number}` };
    },
  };
};
const asked = () => server.tries("fetch").map(({ url }) => new URL(url).pathname.replace("/api/v1", ""));

for (const [fault, transport] of [[true, "sse"], ["sse", "polling"]])
  test(`with a ticket ${transport} carries on where WebSockets are blocked, and no secret goes into a URL`, async () => {
    server.blocked = fault;
    server.append("alice", { number: "SÖ-1", version: 1 });
    const tab = await world.open({ ...elsewhere(), after: 0 });
    await world.pass(30_000);
    assert.deepEqual([tab.feed.state, tab.feed.transport], ["live", transport]);
    server.append();
    await world.settle();
    assert.deepEqual(tab.seen, [1, 2]);
    assert.equal(tab.heard.find(({ type }) => type === "notification").order.number, "SÖ-1");
    tab.feed.markRead();
    await world.settle();
    assert.equal(server.stream("alice").read, 2);
    assert.ok(!server.attempts.some(({ url }) => url.includes("secret")));
    assert.equal(asked()[0], "/tickets/exchange");
    for (const { url, init } of server.tries("fetch")) {
      assert.ok(url.startsWith("https://orderwire.test/api/v1/"));
      assert.equal(init.credentials, "omit");
      assert.ok(!("X-CSRFToken" in (init.headers ?? {})));
      if (!url.endsWith("/exchange")) assert.match(init.headers.Authorization, /^Bearer stream\.secret/);
    }
  });

test("each connection with a ticket has a token of its own", async () => {
  server.blocked = true;
  const tab = await world.open({ ...elsewhere(), after: 0 });
  await world.pass(5_000);
  server.toUser("alice", { type: "close", code: 4005, reason: "expired" });
  await world.pass(5_000);
  assert.deepEqual([tab.feed.state, tab.feed.transport], ["live", "sse"]);
  assert.deepEqual(asked(), ["/tickets/exchange", "/stream", "/tickets/exchange", "/stream"]);
  tab.feed.close();
  await world.settle();
  assert.equal(server.links.size, 0);
});

test("a poller whose token has ended comes back with another", async () => {
  server.blocked = "sse";
  const tab = await world.open({ ...elsewhere(), after: 0 });
  await world.pass(15_000);
  server.tokens.clear();
  await world.pass(30_000);
  server.append();
  await world.settle();
  assert.deepEqual([tab.feed.state, tab.feed.transport, tab.seen], ["live", "polling", [1]]);
});

test("a ticket that is not accepted stops the feed over HTTP too", async () => {
  for (const fault of [true, "sse"]) {
    server.blocked = fault;
    const tab = await world.open({ ticket: () => "unknown" });
    await world.pass(30_000);
    assert.deepEqual([tab.feed.state, tab.heard.at(-1).code], ["stopped", 4500]);
  }
});

test("with a ticket a server that is down, or lets this origin read nothing, is not taken for a proxy", async () => {
  for (const fault of ["down", "foreign"]) {
    server.up = fault !== "down";
    server.foreign = server.blocked = fault === "foreign";
    const tab = await world.open({ ...elsewhere(), after: 0 });
    await world.pass(60_000);
    server.up = true;
    server.foreign = server.blocked = false;
    assert.ok(kinds().lastIndexOf("websocket") > kinds().indexOf("fetch"));
    await world.pass(60_000);
    assert.equal(tab.feed.state, "live");
    tab.feed.close();
  }
});

test("an event stream's last event stands for the close code", async () => {
  server.blocked = true;
  const tab = await world.open();
  await world.pass(5_000);
  server.toUser("alice", { type: "close", code: 4005, reason: "expired" });
  await world.settle();
  assert.deepEqual([tab.feed.state, tab.heard.at(-1).code], ["offline", 4005]);
  await world.pass(5_000);
  assert.equal(tab.feed.state, "live");
  server.toUser("alice", { type: "close", code: 4502, reason: "revoked" });
  await world.settle();
  assert.deepEqual([tab.feed.state, tab.heard.at(-1).code], ["stopped", 4502]);
});

test("a poll that does not say whose it is shows nothing on a page that does", async () => {
  server.blocked = "sse";
  const { fetch } = server;
  server.fetch = async (...args) => {
    const answer = await fetch.apply(server, args);
    const { user, ...rest } = await answer.json();
    return { ...answer, json: async () => rest };
  };
  server.append();
  const tab = await world.open({ user: "alice", after: 0 });
  await world.pass(15_000);
  assert.deepEqual([tab.feed.state, tab.seen], ["stopped", []]);
});

test("another network gives WebSockets another chance", async () => {
  server.blocked = true;
  const tab = await world.open();
  await world.pass(5_000);
  assert.equal(tab.feed.transport, "sse");
  server.blocked = false;
  await tab.fire("offline");
  await tab.fire("online");
  assert.deepEqual([tab.feed.transport, tab.feed.state], ["websocket", "live"]);
});
