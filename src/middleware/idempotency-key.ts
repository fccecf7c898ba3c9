import type { Context } from "hono";
import { GatewayError } from "../errors.ts";
import type { AppEnv } from "./context.ts";

const MAX_CHARS = 255;

/**
 * The Idempotency-Key of a request (IETF draft, httpapi-idempotency-key-header); an empty one is none.
 *
 * @throws {GatewayError} `string_above_max_length`
 */
export function idempotencyKeyOf(c: Context<AppEnv>): string | undefined {
  const header = c.req.header("idempotency-key");
  if (header === undefined || header === "") return undefined;
  if (header.length <= MAX_CHARS) return header;
  throw new GatewayError({
    code: "string_above_max_length",
    param: "Idempotency-Key",
    maxChars: MAX_CHARS,
    chars: header.length,
  });
}
