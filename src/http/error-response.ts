import type { Context } from "hono";
import { GatewayError, type Failure } from "../errors/failure.ts";
import { toWire } from "../errors/wire.ts";
import { errorFields, log } from "../telemetry/log.ts";
import type { AppEnv } from "./context.ts";

/** Returns the error response for a thrown value. The message of an unexpected error is not shown. */
export function errorResponse(error: unknown, c: Context<AppEnv>): Response {
  if (error instanceof GatewayError) return failureResponse(error.failure, c);
  log("error", "internal_error", { request_id: c.get("event").requestId, ...errorFields(error) });
  return failureResponse({ code: "internal_error" }, c);
}

/**
 * Returns the error response for a failure.
 *
 * @param more fields that the body has in addition to `error`
 */
export function failureResponse(failure: Failure, c: Context<AppEnv>, more?: object): Response {
  const { status, headers, body } = toWire(failure);
  c.get("event").add({ error: body.error.code });
  return new Response(JSON.stringify({ ...body, ...more }), {
    status,
    headers: { ...headers, "content-type": "application/json" },
  });
}
