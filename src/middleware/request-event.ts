import type { MiddlewareHandler } from "hono";
import { newId } from "../lib/id.ts";
import { RequestEvent } from "../telemetry/event.ts";
import type { AppEnv } from "./context.ts";

/**
 * Gives the request its id and its event, and every answer, errors too, `x-request-id` and
 * `Server-Timing`. The event is written once the answer is known.
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
    event.add({ method: c.req.method });
    event.write(c.res.status);
  };
}
