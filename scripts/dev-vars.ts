import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";

/** The variables in .dev.vars; none where there is no such file. */
export function devVars(): NodeJS.Dict<string> {
  const file = join(import.meta.dirname, "../.dev.vars");
  return existsSync(file) ? parseEnv(readFileSync(file, "utf8")) : {};
}

/** A secret from the environment or from .dev.vars; `undefined` where it is in neither, or empty. */
export function secretOf(name: string): string | undefined {
  const value = process.env[name] ?? devVars()[name];
  return value === "" ? undefined : value;
}
