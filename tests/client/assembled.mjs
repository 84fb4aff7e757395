/** The client as it is served and packed: what lies in two rooms of the source, in one folder, where one file imports the other. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const folder = mkdtempSync(join(tmpdir(), "orderwire-client-"));
process.on("exit", () => rmSync(folder, { recursive: true }));

for (const room of ["notifications", "orders"])
  cpSync(new URL(`../../${room}/client/`, import.meta.url), folder, { recursive: true });

/** The folder's URL. */
export const assembled = pathToFileURL(`${folder}/`);
