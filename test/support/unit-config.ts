import { configOf, type Config, BINDINGS } from "../../src/config/environment.ts";
import { VARS } from "./vars.ts";

/** Stands in for every binding. A unit test that uses one belongs in test/worker. */
const UNUSABLE = {
  createBatch: unusable,
  getWithMetadata: unusable,
  idFromName: unusable,
  limit: unusable,
};

function unusable(): never {
  throw new Error("unit tests have no bindings");
}

/** Returns an environment with bindings that cannot be used, the vars of all tests, and `vars`. */
export function unitEnvironment(vars: Record<string, unknown> = {}): Record<string, unknown> {
  const bindings = Object.fromEntries(BINDINGS.map((name) => [name, UNUSABLE]));
  return { ...bindings, ...VARS, UPSTREAM_BASE_URL: "http://127.0.0.1:9/v1", ...vars };
}

/** Parsed once, as in an isolate: a new configuration also builds new schemas of request bodies. */
const ENVIRONMENT = unitEnvironment();

/** Returns the configuration of a unit test, with `vars`. */
export function testConfig(vars: Record<string, unknown> = {}): Config {
  return configOf(Object.keys(vars).length === 0 ? ENVIRONMENT : unitEnvironment(vars));
}
