/** What a developer does wrong is said: by a TypeError where it is plain at once, else on the console and in a state's detail. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Feed, Orderwire, World } from "./world.mjs";

let world, server;
beforeEach(() => {
  world = new World();
  server = world.server;
});
const said = (tab) => tab.heard.findLast(({ type, detail }) => type === "state" && detail)?.detail;

for (const [name, ...wrong] of [
  ["after", "41", NaN, -1, 1.5, Infinity, {}],
  ["stream", 7],
  ["user", 7],
  ["url", 7, {}, "http://", "ftp://shop.test/ws", "htps://shop.test/ws"],
  ["api", 7, "http://", "ftp://shop.test"],
  ["ticket", "secret", {}],
  ["snapshot", "/api/v1/snapshot", {}],
  ["csrf", "token"],
  ["shared", "false"],
  ["storage", "localStorage"],
  ["orders", 7, ["SO-1"], [{ number: "SO-1", version: "5" }], [{ number: 1, version: 5 }], [{}]],
])
  for (const value of wrong)
    test(`${name}: ${typeof value} ${typeof value === "number" ? value : JSON.stringify(value)} is a TypeError that names it`, () => {
      assert.throws(() => world.tab().open({ [name]: value }), { name: "TypeError", message: new RegExp(`^${name}\\b`) });
      assert.equal(world.tabs.at(-1).channels.size, 0);
      assert.equal(server.attempts.length, 0); // nothing was begun
    });

test("options that are null or undefined are not given", async () => {
  const nothing = Object.fromEntries(
    ["after", "stream", "user", "url", "api", "ticket", "snapshot", "csrf", "shared", "orders"].map((name, i) => [name, i % 2 ? null : undefined]),
  );
  const tab = await world.open(nothing);
  assert.equal(tab.feed.state, "live");
});

test("an address may be a URL", async () => {
  await world.open({ url: new URL("https://orders.test/ws/notifications"), api: new URL("https://orders.test/api/v1") });
  assert.equal(server.tries().at(-1).url, "wss://orders.test/ws/notifications");
});

test("saw takes numbers for versions and nothing else", async () => {
  const tab = await world.open();
  assert.throws(() => tab.feed.saw({ number: "SO-1", version: "5" }), { name: "TypeError", message: /version/ });
});

for (const [what, ticket, words] of [
  ["throws", () => { throw new Error("502"); }, /^ticket: Error: 502/],
  ["rejects", async () => { throw new TypeError("Failed to fetch"); }, /^ticket: TypeError: Failed to fetch/],
  ["gives an object without one", async () => ({ token: "t" }), /^ticket: .*\{ticket\}/],
  ["gives a number", async () => 7, /^ticket: .*\{ticket\}/],
  ["gives an empty text", async () => "", /^ticket: .*\{ticket\}/],
  ["gives what is no token", async () => "a ticket, please", /^ticket: .*\{ticket\}/],
])
  test(`a ticket function that ${what} is told once and asked again`, async () => {
    let wrong = true;
    server.tickets.set("right", "alice");
    const tab = await world.open({ ticket: () => (wrong ? ticket() : "right") });
    assert.equal(tab.feed.state, "offline");
    assert.match(said(tab), words);
    await world.pass(60_000);
    assert.equal(world.warnings.length, 1);
    assert.match(world.warnings[0], /^orderwire: ticket: /);
    wrong = false;
    await world.pass(21_000);
    assert.equal(tab.feed.state, "live");
  });

test("a ticket function that forgets to return is told and null is not", async () => {
  const forgetful = await world.open({ ticket: async () => {} });
  assert.deepEqual([forgetful.feed.state, forgetful.heard.at(-1).code], ["stopped", "no_ticket"]);
  assert.match(said(forgetful), /^ticket: /);
  const loggedOut = await world.open({ ticket: async () => null });
  assert.deepEqual([loggedOut.feed.state, said(loggedOut), world.warnings.length], ["stopped", undefined, 1]);
});

for (const options of [{}, { ticket: async () => "t" }])
  test(`an address at which no socket opens is told ${options.ticket ? "with a ticket" : "with the cookie"}`, async () => {
    server.up = false;
    const tab = await world.open({ ...options, url: "wss://shpo.test/ws/notifications" });
    await world.pass(120_000);
    assert.equal(world.warnings.length, 1);
    assert.match(world.warnings[0], /url: .*wss:\/\/shpo\.test\/ws\/notifications/);
    assert.match(said(tab), /^url: /);
  });

test("a deploy is no mistake of the page's", async () => {
  await world.open();
  server.up = false;
  await server.cutAll();
  await world.pass(120_000);
  assert.deepEqual(world.warnings, []);
});

test("no ticket is ever shown on the console", async () => {
  server.up = false;
  await world.open({ ticket: async () => ({ ticket: "secret ticket" }) });
  await world.pass(60_000);
  assert.ok(world.warnings.length && !world.warnings.join().includes("secret"));
});

for (const Class of [Feed, Orderwire])
  test(`on a server a ${Class.name} is made without harm and says that it is no browser`, async () => {
    for (const options of [{}, { url: "https://orders.test/ws/notifications", ticket: () => assert.fail("asked"), snapshot: () => assert.fail("asked") }]) {
      const warnings = [];
      const { warn } = console;
      console.warn = (text) => warnings.push(text);
      try {
        const feed = new Class(options);
        const states = [];
        feed.addEventListener("state", ({ detail }) => states.push(detail));
        await world.settle();
        assert.deepEqual(states.map(({ state, code }) => [state, code]), [["stopped", "no_window"]]);
        assert.match(states[0].detail, /window/);
        feed.markRead(3);
        await feed.renew();
        feed.close();
        assert.ok(warnings.every((text) => /window/.test(text)));
      } finally {
        console.warn = warn;
      }
    }
  });
