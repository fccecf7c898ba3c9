import { configOf, type Config } from "../../src/config/config.ts";
import { environment } from "./worker/harness.ts";

/** The configuration of an environment with these vars. */
export function testConfig(vars: Record<string, unknown> = {}): Config {
  return configOf(environment(vars));
}
