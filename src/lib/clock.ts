/** Unix seconds, as the API counts. */
export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
