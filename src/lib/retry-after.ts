import { DAY_SECONDS } from "./clock.ts";

/**
 * Returns the headers that say when to retry. The OpenAI SDKs read the milliseconds first.
 *
 * @param seconds no headers if `undefined`
 */
export function retryAfterHeaders(seconds: number | undefined): Record<string, string> {
  if (seconds === undefined) return {};
  return { "retry-after": String(seconds), "retry-after-ms": String(seconds * 1000) };
}

/** One day. A longer value means "never", and clients need a realistic number. */
const MAX_RETRY_AFTER_SECONDS = DAY_SECONDS;

/**
 * Parses a Retry-After header, a number or an HTTP date (RFC 9110, 10.2.3), to seconds, at most one
 * day. Returns `undefined` if it is missing or malformed.
 *
 * @param nowMs milliseconds since the epoch
 */
export function retryAfterSeconds(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const isNumber = /^\s*\d+\s*$/.test(header);
  // `Date.parse` accepts nearly any text as a date, even "1.5".
  if (!isNumber && !header.trimEnd().endsWith(" GMT")) return undefined;
  const seconds = isNumber ? Number(header) : Math.ceil((Date.parse(header) - nowMs) / 1000);
  if (Number.isNaN(seconds)) return undefined;
  return Math.min(Math.max(seconds, 0), MAX_RETRY_AFTER_SECONDS);
}
