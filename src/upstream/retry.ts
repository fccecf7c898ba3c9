/** Waits of the upstream that are longer than this are the client's to make. */
const MAX_DELAY_MS = 20_000;
const FIRST_DELAY_MS = 500;

/** A day: whoever says more means never, and clients need a number that makes sense. */
const MAX_RETRY_AFTER_SECONDS = 24 * 60 * 60;

/**
 * How long to wait before the next attempt; `undefined` when there should be none.
 *
 * Exponential (0.5 s, 1 s, 2 s …) with up to half of it taken off at random, or what the upstream
 * asked for, if that is bearable.
 *
 * @param attempt attempts made so far, from 1
 * @param random from 0 to 1
 */
export function retryDelayMs(
  attempt: number,
  maxRetries: number,
  retryAfterSeconds: number | undefined,
  random: number,
): number | undefined {
  if (attempt > maxRetries) return undefined;
  if (retryAfterSeconds !== undefined) {
    const asked = retryAfterSeconds * 1000;
    return asked <= MAX_DELAY_MS ? asked : undefined;
  }
  return Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1)) * (1 - random / 2);
}

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
