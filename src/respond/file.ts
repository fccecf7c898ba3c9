import { parse as parseRange } from "range-parser";
import type { CachedImage } from "../cache/cache.ts";
import { GatewayError } from "../errors/failure.ts";
import type { ImageType } from "../lib/image-type.ts";
import { readExactly } from "../lib/streams.ts";

/** What an image request may ask of the representation (RFC 9110, 13 and 14). */
export interface FileConditions {
  ifNoneMatch: string | undefined;
  range: string | undefined;
  ifRange: string | undefined;
  /** Headers only. */
  head: boolean;
}

/** How a file is to be known and kept. */
export interface FileIdentity {
  /** Strong: the bytes behind it never change. */
  etag: string;
  /** A Cache-Control header for the answer. */
  cacheControl: string;
}

const ONE_YEAR_SECONDS = 365 * 24 * 60 * 60;

/** For an address whose bytes never change. */
export const IMMUTABLE = `public, max-age=${ONE_YEAR_SECONDS}, immutable`;

/**
 * An image as a file: whole, one range of it, or "you have it already". The whole one goes from its
 * source to the socket without passing through JavaScript.
 *
 * @throws {GatewayError} `range_not_satisfiable`
 */
export async function fileResponse(
  image: CachedImage,
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
  if (range === undefined) return new Response(image.body, { headers });

  const bytes = await readExactly(image.body, image.sizeBytes);
  const slice = bytes.subarray(range.start, range.end + 1);
  headers.set("content-range", `bytes ${range.start}-${range.end}/${image.sizeBytes}`);
  headers.set("content-length", String(slice.byteLength));
  return new Response(slice, { status: 206, headers });
}

/** What every answer that is a picture carries. */
export function imageHeaders(type: ImageType): Record<string, string> {
  return {
    // Shown in any page, under any origin: knowing the address is the permission.
    "access-control-allow-origin": "*",
    "content-disposition": "inline",
    // Opened by itself a picture is a document, and this one may do nothing.
    "content-security-policy": "default-src 'none'; sandbox",
    "content-type": `image/${type}`,
    "cross-origin-resource-policy": "cross-origin",
    "x-content-type-options": "nosniff",
  };
}

/** A bit of the parser's code: the header has no meaning, rather than none here. */
const MALFORMED = 1;

/**
 * The one range that is asked for; `undefined` where the whole is to be sent: no range, a malformed
 * or unknown one, several (RFC 9110, 14.2 lets a server ignore them), or an If-Range that does not
 * hold.
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

/** If-None-Match compares weakly (RFC 9110, 13.1.2). */
function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  const tags = header.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  return tags.includes(etag) || tags.includes("*");
}
