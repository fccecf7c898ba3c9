import type { Context, MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import { newId } from "../lib/id.ts";
import { RequestEvent } from "../telemetry/event.ts";
import { writeEvent } from "../telemetry/write.ts";
import type { AppEnv } from "../http/context.ts";

/**
 * Gives the request its id and its event, and every answer, errors too, `x-request-id` and
 * `Server-Timing`. The event is written once the answer is on its way.
 */
export function requestEvent(): MiddlewareHandler<AppEnv> {
  return async function requestEvent(c, next) {
    const event = new RequestEvent(newId("req"));
    c.set("event", event);
    await next();
    // Not c.header(), which copies an answer that is there already.
    const { headers } = c.res;
    headers.set("x-request-id", event.requestId);
    headers.set("server-timing", event.serverTiming());
    event.add({ method: c.req.method, route: routeOf(c), status: c.res.status });
    c.executionCtx.waitUntil(writeEvent(event.fields(), event.account, c.var.config));
  };
}

/** The path as it is registered: the address itself may hold a token, and its query a prompt. */
function routeOf(c: Context<AppEnv>): string | undefined {
  const path = routePath(c, -1);
  return path.includes("*") ? undefined : path;
}
