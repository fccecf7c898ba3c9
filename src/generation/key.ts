import type { ImageRequest } from "../contract/request.ts";

/**
 * The cache key: SHA-256 of the canonical request, in hexadecimal.
 *
 * Everything that changes the picture is in it, as resolved: defaults are written out and aliases
 * followed, so that a request means the same however it is spelled. What only changes the delivery
 * (`response_format`, `stream`, `partial_images`) or names the user is not. The upstream is in it
 * too: two servers do not paint the same picture.
 *
 * @param baseUrl of the upstream
 */
export async function requestKey(request: ImageRequest, baseUrl: string): Promise<string> {
  const digest = await crypto.subtle.digest(
    "SHA-256",
    new TextEncoder().encode(canonicalRequest(request, baseUrl)),
  );
  return new Uint8Array(digest).toHex();
}

/** A list has one order and no names to spell differently. The first element is its version. */
function canonicalRequest(request: ImageRequest, baseUrl: string): string {
  const { upstreamModel, prompt, n, size, quality, style, options } = request;
  return JSON.stringify([
    "darkroom/1",
    baseUrl,
    upstreamModel,
    prompt,
    n,
    size,
    quality,
    style ?? null,
    options?.background ?? null,
    options?.output_format ?? null,
    options?.output_compression ?? null,
    options?.moderation ?? null,
  ]);
}
