/** Returns the number of Unicode code points in a text. A lone surrogate counts as one. */
export function countCodePoints(text: string): number {
  let count = 0;
  // oxlint-disable-next-line no-unused-vars -- iterates over code points; only their number matters
  for (const _ of text) count += 1;
  return count;
}
