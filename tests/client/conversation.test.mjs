/** Writing about an order: over the socket, over HTTP where it does not answer, and kept once in any case. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { assembled } from "./assembled.mjs";
import { World } from "./world.mjs";

const { Conversation } = await import(new URL("conversation.js", assembled));

let world, server, kept;
beforeEach(() => {
  world = new World();
  server = world.server;
  server.answers = true; // false: frames are kept, and the answer is lost
  kept = new Map(); // by the client's id, as the server keeps them
  const keep = (text, client_id) => {
    if (!kept.has(client_id)) kept.set(client_id, { id: kept.size + 1, text });
    return kept.get(client_id).id;
  };
  const told = server.told.bind(server);
  server.told = (socket, frame) => {
    if (frame.type === "typing") return;
    if (frame.type !== "message") return told(socket, frame);
    const { order, text, client_id } = frame;
    if (!server.answers) return keep(text, client_id);
    if (text === "too much") return server.say(socket, { type: "error", code: "throttled", detail: "Wait.", client_id, retry_after: 7 });
    server.say(socket, { type: "message", order, id: keep(text, client_id), side: "customer", at: "", client_id });
  };
  const fetch = server.fetch.bind(server);
  server.fetch = async (tab, url, init) => {
    if (!url.includes("/messages")) return fetch(tab, url, init);
    server.attempts.push({ kind: "messages", url, init });
    if (!server.up) throw new TypeError("NetworkError");
    const answer = (status, body, headers = {}) => ({ ok: status < 400, status, headers: new Headers(headers), json: async () => body });
    if (init.method !== "POST") return answer(200, { results: [...kept.values()].reverse(), next: null, previous: null });
    const { text, client_id } = JSON.parse(init.body);
    if (text === "too much") return answer(429, { code: "throttled", detail: "Wait." }, { "Retry-After": "7" });
    return answer(201, { id: keep(text, client_id), order: "SO/1", side: "customer", written_at: "", client_id });
  };
});

/** A tab with the conversation about an order whose number has a slash. */
async function talk(options) {
  const tab = await world.open({ user: "alice", ...options });
  tab.env.crypto = globalThis.crypto;
  tab.conversation = new Conversation(tab.feed, "SO/1", { csrf: () => "from-form", env: tab.env });
  tab.told = [];
  for (const type of ["message", "typing"]) tab.conversation.addEventListener(type, ({ detail }) => tab.told.push({ type, ...detail }));
  return tab;
}

/** What became of a promise, after everything that is on its way has arrived. */
async function outcome(promise, ms = 0) {
  let is = { pending: true };
  promise.then((value) => (is = { value }), (error) => (is = { error }));
  await world.pass(ms);
  return is;
}

const posts = () => server.tries("messages").filter(({ init }) => init.method === "POST");

test("what is said goes over the socket and is there when it is kept", async () => {
  const { conversation, told } = await talk();
  const { value } = await outcome(conversation.say("Where is it?", "a-1"));
  assert.equal(value.id, 1);
  assert.deepEqual(told.map(({ type, id, client_id }) => [type, id, client_id]), [["message", 1, "a-1"]]);
  assert.equal(posts().length, 0);
});

test("a tab that shares another tab's socket says it there", async () => {
  const [leader, follower] = [await talk(), await talk()];
  const { value } = await outcome(follower.conversation.say("Where is it?"));
  assert.equal(value.id, 1);
  assert.deepEqual(leader.told.map(({ id }) => id), [1]);
  assert.equal(server.tries().length, 1);
});

test("an answer that does not come is asked for over HTTP, and the message is kept once", async () => {
  const { conversation } = await talk();
  server.answers = false;
  const said = conversation.say("Where is it?");
  assert.ok((await outcome(said, 4_900)).pending);
  assert.equal((await outcome(said, 200)).value.id, 1);
  assert.deepEqual([...kept.values()], [{ id: 1, text: "Where is it?" }]);
  const [{ url, init }] = posts();
  assert.equal(url, "http://shop.test/api/v1/orders/SO%2F1/messages");
  assert.equal(init.headers["X-CSRFToken"], "from-form");
});

test("a socket that is lost meanwhile is not waited for", async () => {
  const { conversation } = await talk();
  server.answers = false;
  const said = conversation.say("Where is it?");
  await world.settle();
  await server.cutAll();
  assert.equal((await outcome(said)).value.id, 1);
  assert.equal(kept.size, 1);
});

test("without a WebSocket it goes over HTTP at once, and this page is told of it", async () => {
  server.blocked = true;
  const { conversation, feed, told } = await talk();
  await world.pass(5_000);
  assert.equal(feed.transport, "sse");
  assert.equal((await outcome(conversation.say("Where is it?"))).value.id, 1);
  assert.deepEqual(told.map(({ id }) => id), [1]);
});

for (const blocked of [false, true])
  test(`a refusal is told in its words, ${blocked ? "over HTTP" : "over the socket"}`, async () => {
    server.blocked = blocked;
    const { conversation } = await talk();
    await world.pass(5_000);
    const { error } = await outcome(conversation.say("too much"));
    assert.deepEqual([error.code, error.message, error.retryAfter], ["throttled", "Wait.", 7]);
  });

test("a server that is away is told as it is, and the same id may be tried again", async () => {
  const { conversation } = await talk();
  server.up = false;
  await server.cutAll();
  assert.ok((await outcome(conversation.say("Where is it?", "a-1"))).error);
  server.up = true;
  assert.equal((await outcome(conversation.say("Where is it?", "a-1"))).value.id, 1);
  assert.equal(kept.size, 1);
});

test("an answer of the staff is heard of by its notification, whatever the transport", async () => {
  for (const blocked of [false, true]) {
    server.blocked = blocked;
    const { told } = await talk({ shared: false });
    await world.pass(5_000);
    const { length } = told;
    const stream = server.stream("alice");
    for (const number of ["SO/1", "SO/2"]) {
      const frame = { type: "notification", seq: ++stream.head, kind: "order.message", at: "t", order: { number, version: 1 }, message: { id: 7, side: "staff" } };
      stream.log.push(frame);
      server.toUser("alice", frame);
    }
    await world.settle();
    assert.deepEqual(told.slice(length), [{ type: "message", client_id: null, at: "t", id: 7, side: "staff" }]);
  }
});

test("typing is said every three seconds at most, and heard for this order alone", async () => {
  const { conversation, told } = await talk();
  for (let i = 0; i < 50; i++) {
    conversation.typing();
    await world.pass(100);
  }
  const frames = server.tries().at(-1).socket.sent.filter(({ type }) => type === "typing");
  assert.deepEqual(frames, Array(2).fill({ type: "typing", order: "SO/1" }));
  for (const order of ["SO/1", "SO/2"]) server.toUser("alice", { type: "typing", order, who: "staff" });
  await world.settle();
  assert.deepEqual(told, [{ type: "typing", who: "staff" }]);
});

test("messages are read in pages", async () => {
  const { conversation } = await talk();
  await outcome(conversation.say("Where is it?"));
  const { value } = await outcome(conversation.read());
  assert.deepEqual(value.results, [{ id: 1, text: "Where is it?" }]);
  await outcome(conversation.read("http://shop.test/api/v1/orders/SO%2F1/messages?cursor=b1"));
  assert.match(server.tries("messages").at(-1).url, /cursor=b1$/);
});

test("a conversation that is closed hears of no more", async () => {
  const { conversation, told } = await talk();
  conversation.close();
  server.toUser("alice", { type: "typing", order: "SO/1", who: "staff" });
  await world.settle();
  assert.deepEqual(told, []);
});

test("a number that is none is a mistake of the page's", async () => {
  const { feed, env } = await talk();
  for (const number of [undefined, "", 7]) assert.throws(() => new Conversation(feed, number, { env }), TypeError);
});
