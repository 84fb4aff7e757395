/** The engine's own feed: it knows numbers and frames, and nothing of what they are about. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Feed, Orderwire, World } from "./world.mjs";

let world, server;
beforeEach(() => {
  world = new World();
  server = world.server;
});

test("a notification's own fields reach the page as they came", async () => {
  const tab = world.tab();
  const feed = new Feed({ env: tab.env });
  const heard = [];
  feed.addEventListener("notification", ({ detail }) => heard.push(detail));
  await world.settle();
  server.toUser("alice", { type: "notification", seq: 1, kind: "invoice.paid", invoice: { id: 7, version: 2 } });
  await world.settle();
  assert.deepEqual(heard, [{ type: "notification", seq: 1, kind: "invoice.paid", invoice: { id: 7, version: 2 } }]);
});

test("a frame of any other type is an event of that type", async () => {
  const tab = world.tab();
  const feed = new Feed({ env: tab.env });
  const heard = [];
  for (const type of ["typing", "progress", "pong"]) feed.addEventListener(type, ({ detail }) => heard.push(detail));
  await world.settle();
  server.toUser("alice", { type: "typing", in: "room 7" });
  server.toUser("alice", { type: "progress", done: 1, unread: 99 });
  await world.settle();
  assert.deepEqual(heard, [{ type: "typing", in: "room 7" }, { type: "progress", done: 1, unread: 99 }]);
  assert.equal(feed.unread, 0); // a field of that name is not the feed's
});

test("an Orderwire is a feed", async () => {
  const { feed } = await world.open();
  assert.ok(feed instanceof Feed && feed instanceof Orderwire && feed instanceof EventTarget);
});

test("the engine's client knows no orders", async () => {
  const { readdirSync, readFileSync } = await import("node:fs");
  const room = new URL("../../notifications/client/", import.meta.url);
  for (const name of readdirSync(room)) {
    const text = readFileSync(new URL(name, room), "utf8");
    assert.doesNotMatch(text.replaceAll(/orderwire/gi, ""), /order|\bSO-\d/i, name);
  }
});
