/** A day: whoever says more means never, and clients need a number that makes sense. */
const MAX_RETRY_AFTER_SECONDS = 24 * 60 * 60;

/**
 * A Retry-After header in seconds: a number or an HTTP date (RFC 9110, 10.2.3), at most a day;
 * `undefined` when it is missing or neither.
 *
 * @param nowMs milliseconds since the epoch
 */
export function retryAfterSeconds(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const isNumber = /^\s*\d+\s*$/.test(header);
  // `Date.parse` takes nearly anything for a date, "1.5" too.
  if (!isNumber && !header.trimEnd().endsWith(" GMT")) return undefined;
  const seconds = isNumber ? Number(header) : Math.ceil((Date.parse(header) - nowMs) / 1000);
  if (Number.isNaN(seconds)) return undefined;
  return Math.min(Math.max(seconds, 0), MAX_RETRY_AFTER_SECONDS);
}
