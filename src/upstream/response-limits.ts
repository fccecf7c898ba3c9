import { IMAGE_MAX_BYTES } from "./images.ts";

export const MIB = 1024 * 1024;

/** The limit of the text of a response besides its images, in bytes. It is held in memory and parsed. */
export const TEXT_MAX_BYTES = 8 * MIB;

/**
 * The number of images that a response may have beyond those that were requested. Some servers ignore `n`, and
 * some return their input as well.
 */
export const SURPLUS_IMAGES = 3;

/** The length of the largest image as base64 (RFC 4648, 4). */
const IMAGE_BASE64_BYTES = 4 * Math.ceil(IMAGE_MAX_BYTES / 3);

/**
 * How much longer base64 in JSON may be. Line breaks (RFC 2045, 6.8) add a nineteenth, and escapes such as
 * `\u002B` for two of 64 characters a sixth.
 */
const ENCODING_FACTOR = 1.25;

/** The limit of one image in a response, in bytes. */
export const ENCODED_IMAGE_MAX_BYTES = Math.ceil(ENCODING_FACTOR * IMAGE_BASE64_BYTES);

/**
 * Returns the limit of a whole response, in bytes. It bounds the time for reading: images are decoded while they
 * are read.
 *
 * @param expected the number of requested images, partial images included
 */
export function responseMaxBytes(expected: number): number {
  return (expected + SURPLUS_IMAGES) * ENCODED_IMAGE_MAX_BYTES + TEXT_MAX_BYTES;
}
