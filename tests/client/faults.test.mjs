/**
 * Under any sequence of faults: what a tab showed is everything after its first position, or after its last snapshot, in
 * order, once, and one connection serves all tabs. Each seed is a story that can be told again.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "./world.mjs";

const SEEDS = 150; // About a second for each kind of story.

function generator(seed) { // mulberry32
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function story(seed, transport, takesSnapshots) {
  const world = new World();
  const { server } = world;
  const random = (world.random = generator(seed));
  const pick = (list) => list[Math.floor(random() * list.length)];
  const log = [];
  let tabs = [];
  if (transport !== "websocket") server.blocked = transport === "sse" ? true : "sse";

  const deeds = {
    append: () => server.append(),
    appendAgain: () => server.append(),
    burst: () => { for (let i = 0; i < 20; i++) server.append(); },
    open: () => {
      if (tabs.length === 4) return;
      const { head, id } = server.stream("alice");
      const first = Math.max(0, head - Math.floor(random() * 5));
      const tab = world.tab();
      tab.first = first;
      const snapshot = async () => {
        if (random() < 0.3) throw new Error("502");
        const answer = await server.snapshot();
        await new Promise((resolve) => world.after(random() * 5_000, resolve, tab)); // on its way
        return answer;
      };
      const options = takesSnapshots ? { snapshot, ...(random() < 0.5 && { after: first, stream: id }) } : { after: first, stream: id };
      tab.open({ user: "alice", ...options });
      tabs.push(tab);
    },
    close: () => tabs.length > 1 && tabs.splice(Math.floor(random() * tabs.length), 1)[0].feed.close(),
    crash: () => tabs.length > 1 && tabs.splice(Math.floor(random() * tabs.length), 1)[0].crash(),
    hang: () => pick(tabs)?.hang(),
    wakeUp: () => pick(tabs)?.wakeUp(),
    cut: () => server.cutAll(pick([1006, 4000, 4001, 4003])),
    bye: () => server.toUser("alice", { type: "bye", code: 4000, retry_ms: [100, 3_000] }),
    lose: () => (server.loses += 1),
    down: () => ((server.up = false), server.cutAll()),
    rise: () => (server.up = true),
    read: () => tabs.length && pick(tabs).feed.markRead(),
    hush: () => (server.readsUnheard = !server.readsUnheard),
    silent: () => (server.silent = !server.silent),
    hide: () => tabs.length && pick(tabs).fire("pagehide"),
    show: () => tabs.length && pick(tabs).fire("pageshow"),
    look: () => tabs.length && pick(tabs).fire("visibilitychange"),
    pass: () => world.pass(random() * 30_000),
    settle: () => world.settle(),
  };
  if (takesSnapshots)
    Object.assign(deeds, {
      trim: () => (server.stream("alice").trimmed = Math.floor(random() * server.stream("alice").head)),
      restore: () => (server.streams.delete("alice"), server.cutAll()),
    });
  deeds.open();
  for (let i = 0; i < 40; i++) {
    const name = pick(Object.keys(deeds));
    log.push(name);
    await deeds[name]();
  }
  Object.assign(server, { up: true, silent: false, loses: 0, readsUnheard: false });
  for (const tab of tabs) await tab.wakeUp();
  for (const tab of tabs) await tab.fire("pageshow");
  await world.pass(180_000);

  const told = `seed ${seed} (${transport}${takesSnapshots ? ", snapshots" : ""}): ${log.join(" ")}`;
  const { head, read } = server.stream("alice");
  for (const tab of tabs) {
    const expected = Array.from({ length: head - tab.first }, (_, i) => tab.first + 1 + i);
    assert.deepEqual(tab.seen, expected, told);
    assert.deepEqual([tab.feed.state, tab.feed.unread], ["live", head - read], told);
  }
  assert.equal(server.links.size, 1, told);
}

for (const transport of ["websocket", "sse", "polling"])
  for (const takesSnapshots of [false, true])
    test(`nothing is lost, doubled or out of order under faults over ${transport}${takesSnapshots ? ", with snapshots" : ""}`, async () => {
      for (let seed = 1; seed <= SEEDS; seed++) await story(seed, transport, takesSnapshots);
    });
