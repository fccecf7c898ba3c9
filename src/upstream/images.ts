import { GatewayError } from "../errors/failure.ts";
import { imageTypeOf, type ImageType } from "../lib/image-type.ts";
import type { ExtractedJson } from "../lib/extract-base64.ts";
import { isPublicUrl } from "../lib/public-url.ts";
import { readAll, TooManyBytes } from "../lib/streams.ts";

/** What one value of KV holds, and more than any model makes. */
const IMAGE_MAX_BYTES = 25 * 1024 * 1024;

/** Fetching a picture costs nothing, so it is tried again whatever went wrong. */
const FETCH_ATTEMPTS = 3;
const FETCH_PAUSE_MS = 300;

/** Where the bytes of a picture go as soon as they are whole, so that no two are held at once. */
export type PictureSink = (slot: number, bytes: Uint8Array<ArrayBuffer>) => void;

/** A picture whose bytes are in a sink. */
export interface Picture {
  /** Its place in the sink. */
  slot: number;
  type: ImageType;
  sizeBytes: number;
}

/** A picture that is kept, or why it is none. */
export type KeptPicture = Picture | { problem: string };

/**
 * Takes bytes that are said to be pictures, believes only their signature, and writes those that
 * are pictures into the sink.
 */
export class PictureKeeper {
  readonly #sink: PictureSink;
  #slots = 0;

  constructor(sink: PictureSink) {
    this.#sink = sink;
  }

  keep(bytes: Uint8Array<ArrayBuffer>): KeptPicture {
    if (bytes.byteLength > IMAGE_MAX_BYTES) return { problem: TOO_LARGE };
    const type = imageTypeOf(bytes);
    if (type === undefined) {
      return { problem: "a picture in it is neither PNG nor JPEG nor WebP" };
    }
    const slot = this.#slots;
    this.#slots += 1;
    this.#sink(slot, bytes);
    return { slot, type, sizeBytes: bytes.byteLength };
  }
}

const TOO_LARGE = "a picture in it is too large";
const NOT_BASE64 = "a picture in it is not valid base64";
const NOT_FETCHED = "a picture in it cannot be fetched";

/**
 * A kept picture, or the failure that it is none.
 *
 * @throws {GatewayError} `upstream_invalid_response`
 */
export function usable(kept: KeptPicture | undefined): Picture {
  if (kept === undefined) throw unusable(NOT_BASE64);
  if ("problem" in kept) throw unusable(kept.problem);
  return kept;
}

export interface FetchOptions {
  /** Allows http and this machine. */
  localDevelopment: boolean;
  signal: AbortSignal;
}

/**
 * One picture of an answer.
 *
 * @param text base64, a `data:` URL, or the address of the picture
 * @param json the answer that `text` stands in
 * @throws {GatewayError} `upstream_invalid_response` when there is no picture to be had
 */
export async function pictureOf(
  text: string,
  json: ExtractedJson<KeptPicture>,
  keeper: PictureKeeper,
  options: FetchOptions,
): Promise<Picture> {
  const isAddress = /^https?:/i.test(text);
  return usable(isAddress ? keeper.keep(await fetchPicture(text, options)) : json.find(text));
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
    throw error instanceof TooManyBytes ? unusable(TOO_LARGE) : error;
  }
}

/** An answer that cannot be used, and may have been paid for. */
export function unusable(reason: string): GatewayError {
  return new GatewayError({ code: "upstream_invalid_response", reason });
}
