import type { Context } from "hono";
import { KEY_MAX_CHARS } from "../contract/job.ts";
import { GatewayError } from "../errors/failure.ts";
import type { AppEnv } from "./context.ts";

/**
 * Returns the value of a header that identifies a repeated request; `undefined` if it is absent or empty.
 *
 * Idempotency-Key: IETF draft httpapi-idempotency-key-header. webhook-id: Standard Webhooks.
 *
 * @throws {GatewayError} `string_above_max_length`
 */
function keyOf(header: "Idempotency-Key" | "webhook-id", c: Context<AppEnv>): string | undefined {
  const value = c.req.header(header);
  if (value === undefined || value === "") return undefined;
  if (value.length <= KEY_MAX_CHARS) return value;
  throw new GatewayError({
    code: "string_above_max_length",
    param: header,
    maxChars: KEY_MAX_CHARS,
    chars: value.length,
  });
}

/** Returns the Idempotency-Key of a request. */
export function idempotencyKeyOf(c: Context<AppEnv>): string | undefined {
  return keyOf("Idempotency-Key", c);
}

/** Returns the id of a webhook without a signature. */
export function webhookIdOf(c: Context<AppEnv>): string | undefined {
  return keyOf("webhook-id", c);
}
