import type { Cache } from "../cache/cache.ts";
import type { Config } from "../config/environment.ts";
import type { RequestEvent } from "../telemetry/event.ts";

/** The types of Hono's context. */
export interface AppEnv {
  /** Only `config/environment.ts` reads it. */
  Bindings: object;
  Variables: {
    event: RequestEvent;
    config: Config;
    cache: Cache;
  };
}
