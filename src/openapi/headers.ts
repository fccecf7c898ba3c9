import type { RouteResponse } from "./route.ts";

/** The description of each response header, by its name in lower case. */
const HEADERS: Record<string, string> = {
  "x-request-id": "`req_…`: the id of the request in the log.",
  "server-timing": "Milliseconds spent in the cache, in the upstream, and in total.",
  "cache-status":
    "RFC 9211: `darkroom; hit; ttl=…`, `darkroom; fwd=miss; stored`, `darkroom; fwd=miss; collapsed`, `darkroom; fwd=request`.",
  age: "On a cache hit: seconds since the images were generated.",
  "ratelimit-policy": "The limits (draft-ietf-httpapi-ratelimit-headers).",
  ratelimit: "The exceeded limit, with 0 requests remaining.",
  "retry-after": "Seconds to wait before the next request.",
  "retry-after-ms": "The same in milliseconds.",
  "x-should-retry":
    "`false` if a retry cannot help (budget exceeded, image not cached) or may be charged again. OpenAI's SDKs then do not retry.",
  location: "The URL of the result.",
  "preference-applied": "The preference that was applied (RFC 7240).",
  "www-authenticate": "The credentials that are missing or invalid (RFC 6750).",
  allow: "The methods that this URL accepts.",
  "content-range": "The range in the body, and the size of the whole image.",
  "content-location": "The permanent URL of the image.",
  "content-disposition": "`inline`, or `attachment` for an SVG.",
  etag: "A strong validator of the image's bytes.",
  "cache-control": "How long the response may be cached.",
  "accept-ranges": "`bytes`.",
  vary: "The request headers that the response depends on.",
};

/** Returns the headers of a response: those of every response, and the named ones. */
export function responseHeaders(
  ...names: readonly string[]
): NonNullable<RouteResponse["headers"]> {
  const all = ["x-request-id", "server-timing", ...names];
  if (all.includes("retry-after")) all.push("retry-after-ms");
  return Object.fromEntries(
    all.map((name) => [name, { description: HEADERS[name] ?? name, schema: { type: "string" } }]),
  );
}
