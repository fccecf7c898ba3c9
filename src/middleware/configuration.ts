import type { MiddlewareHandler } from "hono";
import { kvCache } from "../cache/cache.ts";
import { configOf } from "../config/environment.ts";
import type { AppEnv } from "../http/context.ts";

/**
 * Puts the parsed configuration and the cache into the context.
 *
 * @throws {GatewayError} `misconfigured`: every request fails until the operator fixes the configuration
 */
export function configuration(): MiddlewareHandler<AppEnv> {
  return async function configuration(c, next) {
    const config = configOf(c.env);
    c.set("config", config);
    c.set("cache", kvCache(config));
    await next();
  };
}
