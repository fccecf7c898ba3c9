/** The image formats that the Worker serves. */
export const IMAGE_TYPES = ["png", "jpeg", "webp"] as const;

export type ImageType = (typeof IMAGE_TYPES)[number];

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const JPEG = [0xff, 0xd8, 0xff];
const RIFF = [0x52, 0x49, 0x46, 0x46];
const WEBP = [0x57, 0x45, 0x42, 0x50];

/**
 * Returns the format of an image by its signature, never by its label. Returns `undefined` for
 * anything else, including SVG and HTML.
 *
 * Signatures: PNG (ISO/IEC 15948, 5.2), JPEG (ISO/IEC 10918-1, SOI and the next marker's first
 * byte), WebP (RFC 9649, 2.4: "RIFF", four bytes of length, "WEBP").
 */
export function imageTypeOf(head: Uint8Array): ImageType | undefined {
  if (startsWith(head, PNG, 0)) return "png";
  if (startsWith(head, JPEG, 0)) return "jpeg";
  if (startsWith(head, RIFF, 0) && startsWith(head, WEBP, 8)) return "webp";
  return undefined;
}

function startsWith(bytes: Uint8Array, signature: readonly number[], offset: number): boolean {
  return signature.every((byte, index) => bytes[offset + index] === byte);
}
