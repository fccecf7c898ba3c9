/** The request directives of Cache-Control (RFC 9111, 5.2.1) that mean something here. */
export interface CacheDirectives {
  /** Neither read what is kept nor keep the answer. */
  noStore: boolean;
  /** Do not read what is kept; keep the answer in its place. */
  noCache: boolean;
  /** Answer from what is kept, or not at all. */
  onlyIfCached: boolean;
  /** Take what is kept only when it is not older than this. */
  maxAgeSeconds: number | undefined;
}

/**
 * Reads a Cache-Control request header. Names are case-insensitive, values may be quoted, unknown
 * directives and a malformed `max-age` are ignored, as RFC 9111, 5.2 asks of a recipient.
 */
export function parseCacheControl(header: string | undefined): CacheDirectives {
  const values = new Map<string, string>();
  for (const part of header?.split(",") ?? []) {
    const [name = "", value = ""] = part.split("=", 2);
    values.set(name.trim().toLowerCase(), value.trim().replace(/^"(.*)"$/, "$1"));
  }
  const maxAge = values.get("max-age");
  return {
    noStore: values.has("no-store"),
    noCache: values.has("no-cache"),
    onlyIfCached: values.has("only-if-cached"),
    maxAgeSeconds: maxAge !== undefined && /^\d{1,10}$/.test(maxAge) ? Number(maxAge) : undefined,
  };
}
