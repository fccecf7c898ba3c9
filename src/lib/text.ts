/** Returns the number of Unicode code points in a text. A lone surrogate counts as one. */
export function countCodePoints(text: string): number {
  let count = 0;
  // oxlint-disable-next-line no-unused-vars -- iterates over code points; only their number matters
  for (const _ of text) count += 1;
  return count;
}

/**
 * Returns the beginning of a text, never with half of a code point at its end.
 *
 * @param maxLength in UTF-16 code units, as `length` counts
 */
export function truncated(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text;
  const last = text.charCodeAt(maxLength - 1);
  const isCut = last >= FIRST_HIGH_SURROGATE && last <= LAST_HIGH_SURROGATE;
  return text.slice(0, isCut ? maxLength - 1 : maxLength);
}

/** The first halves of the code points that have two code units (Unicode, 3.8). */
const FIRST_HIGH_SURROGATE = 0xd800;
const LAST_HIGH_SURROGATE = 0xdbff;
