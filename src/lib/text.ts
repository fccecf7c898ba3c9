/** How many Unicode code points a text has; a lone surrogate counts as one. */
export function codePoints(text: string): number {
  let count = 0;
  // oxlint-disable-next-line no-unused-vars -- the iterator walks code points; only their number matters
  for (const _ of text) count += 1;
  return count;
}
