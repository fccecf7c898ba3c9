import { asRequested, type FurtherParameters, type ImageSpec } from "../contract/image-spec.ts";
import { hexDigest } from "../lib/sha256.ts";

/** The cache keys of a spec. */
export interface RequestKeys {
  /** The key under which new images are stored. */
  key: string;
  /**
   * The key of the same spec before its model was retired: images under it are still hits. `undefined`
   * if the model is not retired.
   */
  retiredKey: string | undefined;
}

/**
 * Returns the keys under which a spec may be cached.
 *
 * @param baseUrl of the upstream
 */
export async function requestKeys(spec: ImageSpec, baseUrl: string): Promise<RequestKeys> {
  const [key, retiredKey] = await Promise.all([
    requestKey(spec, baseUrl),
    spec.retiredModel === undefined ? undefined : requestKey(asRequested(spec), baseUrl),
  ]);
  return { key, retiredKey };
}

/** Identifies a request that a client repeats under the same Idempotency-Key. */
export interface RequestIdentity {
  /**
   * SHA-256 of the spec as it was parsed, with the model that the client requests. Neither a retirement
   * nor a change of `MODEL_ALIASES` or `UPSTREAM_BASE_URL` changes it. Defaults are in it: a change of
   * `DEFAULT_MODEL` does, if the client names no model.
   */
  fingerprint: string;
  /**
   * The value that version 0.1.0 stores and compares instead: the cache key under the model before its
   * retirement. It is stored with the fingerprint, so that each version reads the rows of the other.
   */
  requestKey: string;
}

/** Returns the identity of a spec: equal for a repetition, different for another spec. */
export async function requestIdentity(
  spec: ImageSpec,
  { key, retiredKey }: RequestKeys,
): Promise<RequestIdentity> {
  const fingerprint = await hexDigest(["darkroom-request/1", spec.model, ...imageParameters(spec)]);
  return { fingerprint, requestKey: retiredKey ?? key };
}

/**
 * Returns the cache key: SHA-256 of the canonical spec, in hexadecimal.
 *
 * It contains everything that changes the image, as resolved: defaults, aliases, successors. So equal
 * requests have equal keys in any spelling. It omits the delivery and the upstream options. It contains the
 * upstream's URL, because two servers do not generate the same image.
 *
 * @param baseUrl of the upstream
 */
export function requestKey(spec: ImageSpec, baseUrl: string): Promise<string> {
  // A list has one order and no names to spell differently. The first element is its version.
  return hexDigest(["darkroom/1", baseUrl, spec.upstreamModel, ...imageParameters(spec)]);
}

/** Returns every parameter that changes the image, except the model. */
function imageParameters(spec: ImageSpec): unknown[] {
  const { prompt, n, size, quality, style, options, further } = spec;
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
    ...sorted(further),
  ];
}

/** Returns the further parameters as one object with sorted names; nothing if all are absent. */
function sorted(further: FurtherParameters): object[] {
  const entries = Object.entries(further).filter(([, value]) => value !== undefined);
  if (entries.length === 0) return [];
  return [Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)))];
}
