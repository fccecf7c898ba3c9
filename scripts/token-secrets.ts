import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";

/** The values of TOKEN_SECRET, from the environment or from .dev.vars; the first one signs. */
export function tokenSecrets(): string[] {
  const devVars = join(import.meta.dirname, "../.dev.vars");
  const vars = existsSync(devVars) ? parseEnv(readFileSync(devVars, "utf8")) : {};
  const value = process.env["TOKEN_SECRET"] ?? vars["TOKEN_SECRET"];
  return value === undefined ? [] : value.split(",").map((secret) => secret.trim());
}
