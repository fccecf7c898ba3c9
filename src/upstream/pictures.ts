import { GatewayError } from "../errors.ts";
import { imageTypeOf, type ImageType } from "../lib/image-type.ts";
import type { LiftedJson } from "../lib/lift-base64.ts";
import { isPublicUrl } from "../lib/public-url.ts";
import { readAll, TooManyBytes } from "../lib/streams.ts";

/** What one value of KV holds, and more than any model makes. */
const IMAGE_MAX_BYTES = 25 * 1024 * 1024;

/** Fetching a picture costs nothing, so it is tried again whatever went wrong. */
const FETCH_ATTEMPTS = 3;
const FETCH_PAUSE_MS = 300;

interface FetchOptions {
  localDevelopment: boolean;
  signal: AbortSignal;
}

/**
 * The bytes of one picture of an answer, and their format by their signature.
 *
 * @param text base64, a `data:` URL, or the address of the picture
 * @param json the answer that `text` stands in
 * @throws {GatewayError} `upstream_invalid_response` when there is no picture to be had
 */
export async function pictureBytes(
  text: string,
  json: LiftedJson,
  options: FetchOptions,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; type: ImageType }> {
  const bytes = /^https?:/i.test(text) ? await fetchPicture(text, options) : json.bytesOf(text);
  if (bytes === undefined) throw unusable("a picture in it is not valid base64");
  if (bytes.byteLength > IMAGE_MAX_BYTES) throw unusable("a picture in it is too large");
  const type = imageTypeOf(bytes);
  if (type === undefined) throw unusable("a picture in it is neither PNG nor JPEG nor WebP");
  return { bytes, type };
}

/** No key goes along, and no redirect is followed: the address came from outside. */
async function fetchPicture(
  address: string,
  { localDevelopment, signal }: FetchOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const url = URL.parse(address);
  if (url === null || !isPublicUrl(url, localDevelopment)) {
    throw unusable("a picture's address in it is not a public https URL");
  }
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await fetchOnce(url, signal);
    } catch (error) {
      const final = error instanceof GatewayError || signal.aborted || attempt === FETCH_ATTEMPTS;
      if (final) throw error instanceof GatewayError ? error : unusable(NOT_FETCHED);
    }
    await scheduler.wait(FETCH_PAUSE_MS, { signal });
  }
}

const NOT_FETCHED = "a picture in it cannot be fetched";

/** Throws a GatewayError where trying again is pointless, and anything else where it is not. */
async function fetchOnce(url: URL, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(url, { redirect: "manual", signal });
  if (response.body === null || !response.ok) {
    await response.body?.cancel();
    if (response.status >= 500) throw new Error(NOT_FETCHED);
    throw unusable(`${NOT_FETCHED} (status ${response.status})`);
  }
  try {
    return await readAll(response.body, IMAGE_MAX_BYTES);
  } catch (error) {
    throw error instanceof TooManyBytes ? unusable("a picture in it is too large") : error;
  }
}

function unusable(reason: string): GatewayError {
  return new GatewayError({ code: "upstream_invalid_response", reason });
}
