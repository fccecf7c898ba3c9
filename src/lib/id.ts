/**
 * A new identifier: the prefix, an underscore and 32 hexadecimal digits.
 *
 * 122 of its bits are random (RFC 9562, version 4), so it cannot be guessed: an image URL that
 * holds one is its own permission.
 */
export function newId(prefix: string): string {
  return `${prefix}_${crypto.randomUUID().replaceAll("-", "")}`;
}
