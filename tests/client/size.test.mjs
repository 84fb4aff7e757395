/** What a shop has to load, and what a package of it holds. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const room = (name) => new URL(`../../${name}/client/`, import.meta.url);
const feed = readFileSync(new URL("feed.js", room("notifications")), "utf8");
const orderwire = readFileSync(new URL("orderwire.js", room("orders")), "utf8");

test("the client stays under 6.5 kB gzipped and loads nothing else, but where WebSockets are blocked", () => {
  const sizes = [feed, orderwire].map((source) => gzipSync(source, { level: 9 }).length);
  assert.ok(sizes[0] + sizes[1] < 6_500, `${sizes.join(" + ")} bytes`);
  assert.deepEqual(feed.match(/\bimport\b[^)]*\)?/g), ['import("./streaming.js")']);
  assert.deepEqual(orderwire.match(/\bimport\b.*/g), ['import { Feed } from "./feed.js";']);
});

const without = (name) => {
  try {
    execFileSync(name, ["--version"], { stdio: "ignore" });
  } catch (error) {
    if (process.env.CI) throw error; // CI runs every test.
    return `${name} is not installed`;
  }
};

test("the package holds the files and their types and can be imported", { skip: without("npm") }, async () => {
  // In a copy, because packing lays the engine's files beside the shop's for a moment.
  const folder = mkdtempSync(join(tmpdir(), "orderwire-package-"));
  try {
    for (const name of ["notifications", "orders"])
      cpSync(fileURLToPath(room(name)), join(folder, name, "client"), { recursive: true });
    execFileSync("npm", ["pack", "--offline", "--pack-destination", folder], { cwd: join(folder, "orders/client"), stdio: "pipe" });
    const left = readdirSync(join(folder, "orders/client"));
    assert.ok(!left.includes("feed.js") && !left.includes("streaming.js"));
    execFileSync("tar", ["xzf", readdirSync(folder).find((name) => name.endsWith(".tgz"))], { cwd: folder });
    const shipped = join(folder, "package");
    assert.deepEqual(readdirSync(shipped).sort(), ["README.md", "conversation.d.ts", "conversation.js", "feed.d.ts", "feed.js", "feed.md", "orderwire.d.ts", "orderwire.js", "package.json", "streaming.js"]);
    const { exports } = JSON.parse(readFileSync(join(shipped, "package.json"), "utf8"));
    for (const [entry, name] of [[exports["."], "Orderwire"], [exports["./feed.js"], "Feed"], [exports["./conversation.js"], "Conversation"]]) {
      const module = await import(join(shipped, entry.default));
      assert.equal(module[name].name, name);
      assert.match(readFileSync(join(shipped, entry.types), "utf8"), new RegExp(`export class ${name}\\b.* extends`));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
