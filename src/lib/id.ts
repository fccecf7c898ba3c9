/**
 * Returns a new identifier: the prefix, an underscore and 32 hexadecimal digits.
 *
 * 122 of its bits are random (RFC 9562, version 4), so it cannot be guessed.
 */
export function newId(prefix: string): string {
  return `${prefix}_${crypto.randomUUID().replaceAll("-", "")}`;
}
