import type { Context } from "hono";
import { GatewayError } from "../errors/failure.ts";
import type { AppEnv } from "./context.ts";

const MAX_CHARS = 255;

/**
 * What a client calls a request by, so that the same one again is known (Idempotency-Key: IETF draft,
 * httpapi-idempotency-key-header; webhook-id: Standard Webhooks); an empty name is none.
 *
 * @throws {GatewayError} `string_above_max_length`
 */
function keyOf(header: "Idempotency-Key" | "webhook-id", c: Context<AppEnv>): string | undefined {
  const value = c.req.header(header);
  if (value === undefined || value === "") return undefined;
  if (value.length <= MAX_CHARS) return value;
  throw new GatewayError({
    code: "string_above_max_length",
    param: header,
    maxChars: MAX_CHARS,
    chars: value.length,
  });
}

/** Of a request. */
export function idempotencyKeyOf(c: Context<AppEnv>): string | undefined {
  return keyOf("Idempotency-Key", c);
}

/** Of a webhook that nobody has signed. */
export function webhookIdOf(c: Context<AppEnv>): string | undefined {
  return keyOf("webhook-id", c);
}
