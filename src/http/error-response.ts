import type { Context } from "hono";
import { GatewayError, type Failure } from "../errors/failure.ts";
import { toWire } from "../errors/wire.ts";
import { errorFields, log } from "../telemetry/log.ts";
import type { AppEnv } from "./context.ts";

/** Any thrown value as the contract's error. What nobody expected says nothing of itself. */
export function errorResponse(error: unknown, c: Context<AppEnv>): Response {
  if (error instanceof GatewayError) return failureResponse(error.failure, c);
  log("error", "internal_error", { request_id: c.get("event").requestId, ...errorFields(error) });
  return failureResponse({ code: "internal_error" }, c);
}

/**
 * A failure as the contract's error.
 *
 * @param more what the answer says beside it
 */
export function failureResponse(failure: Failure, c: Context<AppEnv>, more?: object): Response {
  const { status, headers, body } = toWire(failure);
  c.get("event").add({ error: body.error.code });
  return new Response(JSON.stringify({ ...body, ...more }), {
    status,
    headers: { ...headers, "content-type": "application/json" },
  });
}
