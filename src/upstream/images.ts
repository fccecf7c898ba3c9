import { GatewayError } from "../errors/failure.ts";
import type { ExtractedJson } from "../lib/extract-base64.ts";
import { imageTypeOf, type ImageType } from "../lib/image-type.ts";
import { isPublicUrl } from "../lib/public-url.ts";
import { readAll, TooManyBytes } from "../lib/streams.ts";

const MIB = 1024 * 1024;
/** The limit of a KV value, and more than any model generates. */
const IMAGE_MAX_BYTES = 25 * MIB;

/** Downloading an image costs nothing, so every transient error is retried. */
const DOWNLOAD_ATTEMPTS = 3;
const DOWNLOAD_PAUSE_MS = 300;

/** Stores an image as soon as its bytes are complete, so that at most one is in memory. */
export type ImageSink = (slot: number, bytes: Uint8Array<ArrayBuffer>) => void;

/** An image whose bytes are in the sink. */
export interface ReceivedImage {
  /** Index in the sink. */
  slot: number;
  type: ImageType;
  sizeBytes: number;
}

/** A received image, or the reason why its bytes are not accepted. */
export type CheckedImage = ReceivedImage | { problem: string };

const TOO_LARGE = `an image in it is too large (more than ${IMAGE_MAX_BYTES / MIB} MiB)`;
const NOT_BASE64 = "an image in it is not valid base64";
const NOT_DOWNLOADED = "an image in it could not be downloaded";
const NOT_PUBLIC = "an image URL in it is not a public https URL";

/** Checks the size and signature of received bytes and writes images to the sink. */
export class ImageCollector {
  readonly #sink: ImageSink;
  readonly #acceptsSvg: boolean;
  #slots = 0;

  /** @param acceptsSvg true if the client requested SVG */
  constructor(sink: ImageSink, acceptsSvg: boolean) {
    this.#sink = sink;
    this.#acceptsSvg = acceptsSvg;
  }

  collect(bytes: Uint8Array<ArrayBuffer>): CheckedImage {
    if (bytes.byteLength > IMAGE_MAX_BYTES) return { problem: TOO_LARGE };
    const type = imageTypeOf(bytes, this.#acceptsSvg);
    if (type === undefined) return { problem: notAnImage(this.#acceptsSvg) };
    const slot = this.#slots;
    this.#slots += 1;
    this.#sink(slot, bytes);
    return { slot, type, sizeBytes: bytes.byteLength };
  }
}

function notAnImage(acceptsSvg: boolean): string {
  return `an image in it is not PNG, JPEG, WebP, ${acceptsSvg ? "GIF, AVIF or SVG" : "GIF or AVIF"}`;
}

/**
 * Returns the image if it was accepted.
 *
 * @param checked `undefined` if the image was not valid base64
 * @throws {GatewayError} `upstream_invalid_response`
 */
export function requireImage(checked: CheckedImage | undefined): ReceivedImage {
  if (checked === undefined) throw invalidResponse(NOT_BASE64);
  if ("problem" in checked) throw invalidResponse(checked.problem);
  return checked;
}

/** The limits of a download. */
export interface DownloadOptions {
  /** True if http URLs and this machine are allowed. */
  localDevelopment: boolean;
  signal: AbortSignal;
}

/**
 * Returns one image of an upstream response, downloading it if the response gives a URL.
 *
 * @param source base64, a `data:` URL, or an http(s) URL
 * @param json the response that contains `source`
 * @throws {GatewayError} `upstream_invalid_response`
 */
export async function loadImage(
  source: string,
  json: ExtractedJson<CheckedImage>,
  collector: ImageCollector,
  options: DownloadOptions,
): Promise<ReceivedImage> {
  const isHttpUrl = /^https?:/i.test(source);
  return requireImage(
    isHttpUrl ? collector.collect(await download(source, options)) : json.resultFor(source),
  );
}

/** Downloads an untrusted URL: sends no key and follows no redirect. */
async function download(
  source: string,
  { localDevelopment, signal }: DownloadOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const url = URL.parse(source);
  if (url === null || !isPublicUrl(url, localDevelopment)) throw invalidResponse(NOT_PUBLIC);
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await downloadOnce(url, signal);
    } catch (error) {
      if (error instanceof GatewayError) throw error;
      if (signal.aborted || attempt === DOWNLOAD_ATTEMPTS) throw invalidResponse(NOT_DOWNLOADED);
    }
    await scheduler.wait(DOWNLOAD_PAUSE_MS, { signal });
  }
}

/** Downloads once. A thrown GatewayError is final; any other error may be retried. */
async function downloadOnce(url: URL, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(url, { redirect: "manual", signal });
  if (response.body === null || !response.ok) {
    await response.body?.cancel();
    if (response.status >= 500) throw new Error(NOT_DOWNLOADED);
    throw invalidResponse(`${NOT_DOWNLOADED} (status ${response.status})`);
  }
  try {
    return await readAll(response.body, IMAGE_MAX_BYTES);
  } catch (error) {
    throw error instanceof TooManyBytes ? invalidResponse(TOO_LARGE) : error;
  }
}

/**
 * Creates the error for a response that cannot be used. The upstream may have charged for it.
 *
 * @param reason a clause that follows "The upstream's response cannot be used: "
 */
export function invalidResponse(reason: string): GatewayError {
  return new GatewayError({ code: "upstream_invalid_response", reason });
}
