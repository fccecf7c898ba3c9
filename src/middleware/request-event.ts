import type { Context, MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import { newId } from "../lib/id.ts";
import { RequestEvent } from "../telemetry/event.ts";
import { writeEvent } from "../telemetry/write.ts";
import type { AppEnv } from "../http/context.ts";

/**
 * Gives the request an id and an event, and every response `x-request-id` and `Server-Timing`. Writes the
 * event after the response has been returned.
 */
export function requestEvent(): MiddlewareHandler<AppEnv> {
  return async function requestEvent(c, next) {
    const event = new RequestEvent(newId("req"));
    c.set("event", event);
    await next();
    // c.header() would copy the finished response.
    const { headers } = c.res;
    headers.set("x-request-id", event.requestId);
    headers.set("server-timing", event.serverTiming());
    event.add({ method: c.req.method, route: routeOf(c), status: c.res.status });
    c.executionCtx.waitUntil(writeEvent(event.fields(), event.account, c.var.config));
  };
}

/** Returns the route as it is registered. The URL itself may contain a token, and its query a prompt. */
function routeOf(c: Context<AppEnv>): string | undefined {
  // Middleware has wildcards. Of the routes that match, the first one responds.
  return matchedRoutes(c).find(({ path }) => !path.includes("*"))?.path;
}
