import { isSvg } from "./svg.ts";

/** The image formats that the Worker serves. */
export const IMAGE_TYPES = ["png", "jpeg", "webp", "gif", "avif", "svg"] as const;

export type ImageType = (typeof IMAGE_TYPES)[number];

/** Returns the media type of an image (IANA). */
export function mediaTypeOf(type: ImageType): string {
  return type === "svg" ? "image/svg+xml" : `image/${type}`;
}

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const JPEG = [0xff, 0xd8, 0xff];
const RIFF = ascii("RIFF");
const WEBP = ascii("WEBP");
const GIF_VERSIONS = [ascii("GIF87a"), ascii("GIF89a")];
const FTYP = ascii("ftyp");

/** The brands of AVIF: a still image, and a sequence of images. */
const AVIF_BRANDS = [ascii("avif"), ascii("avis")];

/**
 * Returns the format of an image by its signature, never by its label. Returns `undefined` for anything
 * else, including HTML.
 *
 * Signatures: PNG (ISO/IEC 15948, 5.2), JPEG (ISO/IEC 10918-1, SOI and the next marker's first byte),
 * WebP (RFC 9649, 2.4: "RIFF", four bytes of length, "WEBP"), GIF (GIF89a specification, 17), AVIF (AV1
 * Image File Format, 6: a `ftyp` box with one of its brands).
 *
 * @param acceptsSvg true if the client requested SVG, which is a document that can contain scripts
 */
export function imageTypeOf(bytes: Uint8Array, acceptsSvg = false): ImageType | undefined {
  if (startsWith(bytes, PNG, 0)) return "png";
  if (startsWith(bytes, JPEG, 0)) return "jpeg";
  if (startsWith(bytes, RIFF, 0) && startsWith(bytes, WEBP, 8)) return "webp";
  if (GIF_VERSIONS.some((version) => startsWith(bytes, version, 0))) return "gif";
  if (isAvif(bytes)) return "avif";
  return acceptsSvg && isSvg(bytes) ? "svg" : undefined;
}

/** The most brands that a `ftyp` box is searched for. Real files have fewer than ten. */
const MAX_BRANDS = 32;

/** The offset of `minor_version` in a `ftyp` box: a number between the major brand and the compatible ones. */
const MINOR_VERSION_OFFSET = 12;

/** Returns true if the major brand or a compatible brand of the first box (ISO/IEC 14496-12, 4.3) is AVIF's. */
function isAvif(bytes: Uint8Array): boolean {
  if (!startsWith(bytes, FTYP, 4)) return false;
  const boxBytes = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0);
  const end = Math.min(boxBytes, bytes.byteLength, 8 + 4 * MAX_BRANDS);
  for (let offset = 8; offset + 4 <= end; offset += 4) {
    if (offset === MINOR_VERSION_OFFSET) continue;
    if (AVIF_BRANDS.some((brand) => startsWith(bytes, brand, offset))) return true;
  }
  return false;
}

function startsWith(bytes: Uint8Array, signature: readonly number[], offset: number): boolean {
  return signature.every((byte, index) => bytes[offset + index] === byte);
}

function ascii(text: string): number[] {
  return Array.from(text, (character) => character.charCodeAt(0));
}
