export const DAY_SECONDS = 24 * 60 * 60;
export const YEAR_SECONDS = 365 * DAY_SECONDS;

/** Returns the current time in Unix seconds, the unit of the API. */
export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

/**
 * Returns the UTC day of a time, YYYY-MM-DD.
 *
 * @param seconds Unix seconds
 */
export function dayOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}

/**
 * Returns the seconds from a time to the end of its UTC day.
 *
 * @param seconds Unix seconds
 */
export function secondsToMidnight(seconds: number): number {
  return DAY_SECONDS - (seconds % DAY_SECONDS);
}
