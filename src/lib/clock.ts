/** Returns the current time in Unix seconds, the unit of the API. */
export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
