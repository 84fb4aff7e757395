/** What a shop has to load. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const read = (name) => readFileSync(new URL(`../../notifications/client/${name}`, import.meta.url), "utf8");

test("the client stays under 6 kB gzipped and loads nothing else", () => {
  const source = read("orderwire.js");
  const size = gzipSync(source, { level: 9 }).length;
  assert.ok(size < 6_000, `${size} bytes`);
  assert.doesNotMatch(source, /\bimport\b/);
});

test("the package ships the client and its types", () => {
  const { files, exports } = JSON.parse(read("package.json"));
  assert.deepEqual(files, ["orderwire.js", "orderwire.d.ts"]);
  for (const path of Object.values(exports["."])) assert.ok(read(path).includes("export class Orderwire extends EventTarget"));
});
