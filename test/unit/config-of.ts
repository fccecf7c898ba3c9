import { configOf, type Config } from "../../src/config/environment.ts";
import { environment } from "../worker/gateway.ts";

/** The configuration of an environment with these vars. */
export function testConfig(vars: Record<string, unknown> = {}): Config {
  return configOf(environment(vars));
}
