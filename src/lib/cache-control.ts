import { parseDirectives } from "./directives.ts";

/** The supported Cache-Control request directives (RFC 9111, 5.2.1). */
export interface CacheDirectives {
  /** True if the response is neither read from the cache nor stored in it. */
  noStore: boolean;
  /** True if the response is not read from the cache, but replaces the cached one. */
  noCache: boolean;
  /** True if only a cached response is acceptable. */
  onlyIfCached: boolean;
  /** The maximum age of an acceptable cached response. */
  maxAgeSeconds: number | undefined;
}

/**
 * Parses a Cache-Control request header. Unknown directives and a malformed `max-age` are ignored, as
 * RFC 9111, 5.2 requires.
 */
export function parseCacheControl(header: string | undefined): CacheDirectives {
  const values = parseDirectives(header, /,/);
  const maxAge = values.get("max-age");
  return {
    noStore: values.has("no-store"),
    noCache: values.has("no-cache"),
    onlyIfCached: values.has("only-if-cached"),
    maxAgeSeconds: maxAge !== undefined && /^\d{1,10}$/.test(maxAge) ? Number(maxAge) : undefined,
  };
}
