/** The upper bound of a delay. If the upstream requests more, the client must retry. */
const MAX_DELAY_MS = 20_000;
const FIRST_DELAY_MS = 500;

/**
 * Returns the delay before the next attempt; `undefined` to give up.
 *
 * The delay is the upstream's Retry-After if it is at most `MAX_DELAY_MS`. Without one it grows
 * exponentially (0.5 s, 1 s, 2 s …), shortened at random by up to half.
 *
 * @param attempt number of attempts so far, from 1
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
    const retryAfterMs = retryAfterSeconds * 1000;
    return retryAfterMs <= MAX_DELAY_MS ? retryAfterMs : undefined;
  }
  return Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1)) * (1 - random / 2);
}
