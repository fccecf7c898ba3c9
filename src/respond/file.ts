import { parse as parseRange } from "range-parser";
import type { CachedImage } from "../cache/cache.ts";
import { GatewayError } from "../errors/failure.ts";
import { YEAR_SECONDS } from "../lib/clock.ts";
import { mediaTypeOf, type ImageType } from "../lib/image-type.ts";
import { readPart } from "../lib/streams.ts";
import { streamedBody, type WaitUntil } from "./body.ts";

/** The conditions and the range of a request for an image (RFC 9110, 13 and 14). */
export interface FileConditions {
  ifNoneMatch: string | undefined;
  range: string | undefined;
  ifRange: string | undefined;
  /** True if the response has only headers. */
  head: boolean;
  waitUntil: WaitUntil;
}

/** An image that is sent as a file. */
export interface FileImage extends CachedImage {
  /** True if it is in a Durable Object, which may delete it while it is read. */
  isInObject?: boolean | undefined;
}

/** The validator and the caching of a file. */
export interface FileIdentity {
  /** A strong ETag: the bytes never change. */
  etag: string;
  /** The Cache-Control header of the response. */
  cacheControl: string;
}

/** The Cache-Control of a URL whose bytes never change. */
export const IMMUTABLE = `public, max-age=${YEAR_SECONDS}, immutable`;

/**
 * Returns an image as a file: the whole, one range of it, or 304. The whole image streams from KV to the socket
 * without passing through JavaScript. KV reads no ranges, so the bytes before a range are read and discarded, in
 * chunks, before the response begins.
 *
 * @throws {GatewayError} `range_not_satisfiable`
 */
export async function fileResponse(
  image: FileImage,
  identity: FileIdentity,
  conditions: FileConditions,
): Promise<Response> {
  const { etag } = identity;
  const headers = new Headers({
    ...imageHeaders(image.type),
    "accept-ranges": "bytes",
    "cache-control": identity.cacheControl,
    etag,
  });
  if (matches(conditions.ifNoneMatch, etag)) {
    await image.body.cancel();
    headers.delete("content-type");
    return new Response(null, { status: 304, headers });
  }
  headers.set("content-length", String(image.sizeBytes));
  if (conditions.head) {
    await image.body.cancel();
    return new Response(null, { headers });
  }
  const range = await singleRange(image, etag, conditions);
  if (range === undefined) {
    return new Response(await wholeFile(image, conditions.waitUntil), { headers });
  }

  const { start, end } = range;
  const length = end - start + 1;
  headers.set("content-range", `bytes ${start}-${end}/${image.sizeBytes}`);
  headers.set("content-length", String(length));
  const part = readPart(image.body, start, length);
  const body = await streamedBody(part, length, conditions.waitUntil);
  return new Response(body, { status: 206, headers });
}

/**
 * Returns the body of a whole image. The first chunk of one in a Durable Object is read before the response
 * begins, so that a deleted one is an error. If it is deleted later, the body is cut below its length.
 *
 * @throws {Error} if the first chunk cannot be read
 */
export async function wholeFile(
  { body, sizeBytes, isInObject = false }: Omit<FileImage, "type">,
  waitUntil: WaitUntil,
): Promise<ReadableStream> {
  return isInObject ? streamedBody(readPart(body, 0, sizeBytes), sizeBytes, waitUntil) : body;
}

/** Returns the headers of every response that is an image. */
export function imageHeaders(type: ImageType): Record<string, string> {
  return {
    // Any page of any origin may show the image: its URL is the permission.
    "access-control-allow-origin": "*",
    // An SVG is a document with links. A page shows it with <img>, which ignores this header. Opened by
    // itself, it is downloaded.
    "content-disposition": type === "svg" ? "attachment" : "inline",
    // An image that is opened as a document must not run or load anything. The browser's own viewer styles it.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "content-type": mediaTypeOf(type),
    "cross-origin-resource-policy": "cross-origin",
    "x-content-type-options": "nosniff",
  };
}

/** The bit in the parser's code for a malformed header. */
const MALFORMED = 1;

/**
 * Returns the single requested range; `undefined` for the whole image. Malformed, unknown and multiple ranges
 * are ignored (RFC 9110, 14.2), and so is a range whose If-Range does not match.
 */
async function singleRange(
  image: CachedImage,
  etag: string,
  { range, ifRange }: FileConditions,
): Promise<{ start: number; end: number } | undefined> {
  if (range === undefined || (ifRange !== undefined && ifRange.trim() !== etag)) return undefined;
  const { code, type, ranges } = parseRange(image.sizeBytes, range);
  if (type !== "bytes" || (code & MALFORMED) !== 0) return undefined;
  if (ranges.length > 0) return ranges.length === 1 ? ranges[0] : undefined;
  await image.body.cancel();
  throw new GatewayError({ code: "range_not_satisfiable", sizeBytes: image.sizeBytes });
}

/** Returns true if an If-None-Match header matches. It compares weakly (RFC 9110, 13.1.2). */
function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  const tags = header.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  return tags.includes(etag) || tags.includes("*");
}
