import type { Answer } from "./route.ts";

/** Every header that an answer may have, in the names that HTTP gives them, and what it says. */
const HEADERS: Record<string, string> = {
  "x-request-id": "`req_…`: names the request in the log.",
  "server-timing": "Milliseconds spent in the cache, upstream, and in total.",
  "cache-status":
    "RFC 9211: `darkroom; hit; ttl=…`, `darkroom; fwd=miss; stored`, `darkroom; fwd=miss; collapsed`, `darkroom; fwd=request`.",
  age: "Seconds since the pictures were made, on a hit.",
  "ratelimit-policy": "The limits (draft-ietf-httpapi-ratelimit-headers).",
  ratelimit: "What is left of the limit that was met: nothing.",
  "retry-after": "Seconds after which it makes sense to ask again.",
  "x-should-retry":
    "`false` where the money is spent, or a picture may have been paid for: SDKs do not ask again by themselves.",
  location: "Where the result will be.",
  "preference-applied": "Which preference was followed (RFC 7240).",
  "www-authenticate": "What is missing (RFC 6750).",
  allow: "The methods that this URL takes.",
  "content-range": "The range, and the size of the whole.",
  "content-location": "The address of the same picture.",
  "content-disposition": "`inline`.",
  etag: "Strong: names the bytes.",
  "cache-control": "How long it may be kept.",
  "accept-ranges": "`bytes`.",
  vary: "What else the answer depends on.",
};

/** The headers of an answer: those that every one has, and these. */
export function onEveryAnswer(...names: readonly string[]): NonNullable<Answer["headers"]> {
  const all = ["x-request-id", "server-timing", ...names];
  return Object.fromEntries(
    all.map((name) => [name, { description: HEADERS[name] ?? name, schema: { type: "string" } }]),
  );
}
