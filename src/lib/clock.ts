export const DAY_SECONDS = 24 * 60 * 60;
export const YEAR_SECONDS = 365 * DAY_SECONDS;

/** Returns the current time in Unix seconds, the unit of the API. */
export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
