import { asRequested, type ImageRequest } from "../contract/request.ts";

/** The cache keys of a request. */
export interface RequestKeys {
  /** New images are stored under this one. */
  key: string;
  /**
   * The key of the same request before its model was retired: images under it are still hits.
   * `undefined` if the model is not retired.
   */
  retiredKey: string | undefined;
}

/**
 * Returns the keys under which a request may be cached.
 *
 * @param baseUrl of the upstream
 */
export async function requestKeys(request: ImageRequest, baseUrl: string): Promise<RequestKeys> {
  const [key, retiredKey] = await Promise.all([
    requestKey(request, baseUrl),
    request.retiredModel === undefined ? undefined : requestKey(asRequested(request), baseUrl),
  ]);
  return { key, retiredKey };
}

/** Identifies a request that a client repeats under the same Idempotency-Key. */
export interface RequestIdentity {
  /**
   * SHA-256 of the request as it was parsed, with the model that the client requests. Neither a
   * retirement nor a change of `MODEL_ALIASES` or `UPSTREAM_BASE_URL` changes it. Defaults are in it: a
   * change of `DEFAULT_MODEL` does, if the client names no model.
   */
  fingerprint: string;
  /**
   * What version 0.1.0 stores and compares instead: the cache key under the model before its
   * retirement. Stored with the fingerprint, so that each version reads what the other wrote.
   */
  requestKey: string;
}

/** Returns the identity of a request: equal for a repetition, different for another request. */
export async function requestIdentity(
  request: ImageRequest,
  { key, retiredKey }: RequestKeys,
): Promise<RequestIdentity> {
  const fingerprint = await sha256([
    "darkroom-request/1",
    request.model,
    ...imageParameters(request),
  ]);
  return { fingerprint, requestKey: retiredKey ?? key };
}

/**
 * The cache key: SHA-256 of the canonical request, in hexadecimal.
 *
 * Everything that changes the image is in it, as resolved: defaults are written out, aliases and
 * successors of retired models followed, so that a request means the same however it is spelled. What
 * only changes the delivery (`response_format`, `stream`, `partial_images`) or names the user is not.
 * The upstream is in it too: two servers do not generate the same image.
 *
 * @param baseUrl of the upstream
 */
export function requestKey(request: ImageRequest, baseUrl: string): Promise<string> {
  // A list has one order and no names to spell differently. The first element is its version.
  return sha256(["darkroom/1", baseUrl, request.upstreamModel, ...imageParameters(request)]);
}

/** Returns every parameter that changes the image, except the model. */
function imageParameters({ prompt, n, size, quality, style, options }: ImageRequest) {
  return [
    prompt,
    n,
    size,
    quality,
    style ?? null,
    options?.background ?? null,
    options?.output_format ?? null,
    options?.output_compression ?? null,
    options?.moderation ?? null,
  ];
}

async function sha256(list: readonly (string | number | null)[]): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(list));
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
