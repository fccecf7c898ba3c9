import type { Cache } from "../cache/cache.ts";
import type { Config } from "../config/environment.ts";
import type { RequestEvent } from "../telemetry/event.ts";

/** What Hono's context carries here. */
export interface AppEnv {
  /** Read by `config/environment.ts` alone. */
  Bindings: object;
  Variables: {
    event: RequestEvent;
    config: Config;
    cache: Cache;
  };
}
