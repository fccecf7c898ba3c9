/** Waits of the upstream that are longer than this are the client's to make. */
const MAX_DELAY_MS = 20_000;
const FIRST_DELAY_MS = 500;

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
