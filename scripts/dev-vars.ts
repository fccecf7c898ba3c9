import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";

/** Returns the variables in .dev.vars, or none if the file does not exist. */
export function devVars(): NodeJS.Dict<string> {
  const file = join(import.meta.dirname, "../.dev.vars");
  return existsSync(file) ? parseEnv(readFileSync(file, "utf8")) : {};
}

/** Returns a secret from the environment or .dev.vars, or `undefined` if it is unset or empty. */
export function secretOf(name: string): string | undefined {
  const value = process.env[name] ?? devVars()[name];
  return value === "" ? undefined : value;
}
