// Writes the tables of docs/errors.md from the rows of src/errors/wire.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { withErrorTables } from "./error-tables.ts";

const file = join(import.meta.dirname, "../docs/errors.md");
await writeFile(file, withErrorTables(await readFile(file, "utf8")));
console.log("docs/errors.md");
