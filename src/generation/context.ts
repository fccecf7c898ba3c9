import type { Cache } from "../cache/cache.ts";
import type { Config } from "../config/environment.ts";
import type { RequestEvent } from "../telemetry/event.ts";

/** The parts of a request's context that lookups and generations use. */
export interface GenerationContext {
  config: Config;
  cache: Cache;
  event: RequestEvent;
}
