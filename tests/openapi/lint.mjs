// What redocly's and spectral's recommended rules find in an OpenAPI document: one finding a line, none for a good one.

import { readFileSync } from "node:fs";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import spectral from "@stoplight/spectral-core";
import rulesets from "@stoplight/spectral-rulesets";

const source = readFileSync(process.argv[2], "utf8");

const config = await createConfig({ extends: ["recommended"] });
for (const found of await lintFromString({ source, config, absoluteRef: "/openapi.json" })) {
  console.log(`redocly ${found.severity} ${found.ruleId} ${found.location[0]?.pointer}: ${found.message}`);
}

const linter = new spectral.Spectral();
linter.setRuleset({ extends: [[rulesets.oas, "recommended"]] });
for (const found of await linter.run(source)) {
  console.log(`spectral ${found.severity} ${found.code} #/${found.path.join("/")}: ${found.message}`);
}
