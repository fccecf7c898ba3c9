import { GatewayError } from "../errors/failure.ts";
import type { ByteWriter } from "../lib/base64-decoder.ts";
import type { ExtractedJson } from "../lib/extract-base64.ts";
import { imageTypeOf, type ImageType } from "../lib/image-type.ts";
import { isPublicUrl } from "../lib/public-url.ts";
import { READ_BYTES, readChunks } from "../lib/streams.ts";

const MIB = 1024 * 1024;
/** The limit of a KV value, and more than any model generates. */
export const IMAGE_MAX_BYTES = 25 * MIB;

/**
 * The bytes of an image that are in memory at a time. The format is known by then: an SVG is searched no further
 * for its root element. SQLite holds at most 2 MB in a value.
 */
const CHUNK_BYTES = MIB;

/** Downloading an image costs nothing, so every transient error is retried. */
const DOWNLOAD_ATTEMPTS = 3;
const DOWNLOAD_PAUSE_MS = 300;

/** Stores the images of a response while they arrive. */
export interface ImageSink {
  /**
   * Stores the next part of an image.
   *
   * @param part from 0
   * @param bytes at most 1 MiB; they must be copied, because the buffer is reused
   */
  write: (slot: number, part: number, bytes: Uint8Array<ArrayBuffer>) => void;
  /** Deletes the parts of an image that is not accepted. */
  delete: (slot: number) => void;
}

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
const SURPLUS = "it has more images than were requested";

/** How to collect the images of a response. */
export interface CollectOptions {
  sink: ImageSink;
  /** True if the client requested SVG. */
  acceptsSvg: boolean;
  /** The number of images that are stored. Further ones are discarded while they are read. */
  maxImages: number;
}

/** Writes received bytes to the sink, and checks their size and signature. */
export class ImageCollector {
  readonly #options: CollectOptions;
  #slots = 0;
  #accepted = 0;
  /** The chunk of the image that is open. One is open at a time. */
  #chunk: Uint8Array<ArrayBuffer> | undefined;

  constructor(options: CollectOptions) {
    this.#options = options;
  }

  /** Opens the writer of the next image. It must end or be aborted before another one is opened. */
  open(): ImageWriter {
    this.#chunk ??= new Uint8Array(CHUNK_BYTES);
    const { sink, acceptsSvg, maxImages } = this.#options;
    const slot = this.#slots;
    this.#slots += 1;
    const onAccepted = () => {
      this.#accepted += 1;
    };
    const problem = this.#accepted >= maxImages ? SURPLUS : undefined;
    return new ImageWriter({ sink, acceptsSvg, slot, chunk: this.#chunk, onAccepted, problem });
  }
}

interface WriterOptions extends Pick<CollectOptions, "sink" | "acceptsSvg"> {
  slot: number;
  /** The buffer of the chunk that is being received. */
  chunk: Uint8Array<ArrayBuffer>;
  onAccepted: () => void;
  /** The reason why the image is discarded whatever it is. */
  problem: string | undefined;
}

/**
 * Writes one image to the sink in chunks. Its first chunk decides whether it is an image. An image that is not
 * accepted is deleted from the sink at once.
 */
class ImageWriter implements ByteWriter<CheckedImage> {
  readonly #options: WriterOptions;
  #type: ImageType | undefined;
  #parts = 0;
  #chunkBytes = 0;
  #sizeBytes = 0;
  #problem: string | undefined;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#problem = options.problem;
  }

  /** Receives the next bytes, and copies them. Returns false if the image is not accepted. */
  write(bytes: Uint8Array): boolean {
    this.#sizeBytes += bytes.byteLength;
    if (this.#sizeBytes > IMAGE_MAX_BYTES) this.#reject(TOO_LARGE);
    const { chunk } = this.#options;
    let start = 0;
    while (start < bytes.byteLength && this.#problem === undefined) {
      const piece = bytes.subarray(start, start + CHUNK_BYTES - this.#chunkBytes);
      chunk.set(piece, this.#chunkBytes);
      this.#chunkBytes += piece.byteLength;
      start += piece.byteLength;
      if (this.#chunkBytes === CHUNK_BYTES) this.#flush();
    }
    return this.#problem === undefined;
  }

  end(): CheckedImage {
    if (this.#chunkBytes > 0 || this.#parts === 0) this.#flush();
    const { slot, acceptsSvg, onAccepted } = this.#options;
    if (this.#problem !== undefined) return { problem: this.#problem };
    if (this.#type === undefined) return { problem: notAnImage(acceptsSvg) };
    onAccepted();
    return { slot, type: this.#type, sizeBytes: this.#sizeBytes };
  }

  abort(): void {
    this.#reject(NOT_BASE64);
  }

  /** Writes the chunk to the sink, the first one only if it is an image. */
  #flush(): void {
    if (this.#problem !== undefined) return;
    const { sink, slot, chunk, acceptsSvg } = this.#options;
    const bytes = chunk.subarray(0, this.#chunkBytes);
    if (this.#parts === 0) this.#type = imageTypeOf(bytes, acceptsSvg);
    if (this.#type === undefined) {
      this.#reject(notAnImage(acceptsSvg));
      return;
    }
    sink.write(slot, this.#parts, bytes);
    this.#parts += 1;
    this.#chunkBytes = 0;
  }

  #reject(problem: string): void {
    this.#problem ??= problem;
    this.#chunkBytes = 0;
    if (this.#parts > 0) this.#options.sink.delete(this.#options.slot);
    this.#parts = 0;
  }
}

function notAnImage(acceptsSvg: boolean): string {
  return `an image in it is not PNG, JPEG, WebP, ${acceptsSvg ? "GIF, AVIF or SVG" : "GIF or AVIF"}`;
}

/** The limits of a download. */
export interface DownloadOptions {
  /** True if http URLs and this machine are allowed. */
  localDevelopment: boolean;
  signal: AbortSignal;
}

/**
 * Returns one image of an upstream response, downloading it if the response gives a URL; the problem if it is
 * not accepted.
 *
 * @param source base64, a `data:` URL, or an http(s) URL
 * @param json the response that contains `source`
 */
export async function loadImage(
  source: string,
  json: ExtractedJson<CheckedImage>,
  collector: ImageCollector,
  options: DownloadOptions,
): Promise<CheckedImage> {
  if (/^https?:/i.test(source)) return download(source, collector, options);
  return orProblem(json.resultFor(source));
}

/** Returns a checked image. `undefined` is one that was not valid base64. */
export function orProblem(checked: CheckedImage | undefined): CheckedImage {
  return checked ?? { problem: NOT_BASE64 };
}

/**
 * Returns the image if it was accepted.
 *
 * @throws {GatewayError} `upstream_invalid_response`
 */
export function requireImage(checked: CheckedImage): ReceivedImage {
  if ("problem" in checked) throw invalidResponse(checked.problem);
  return checked;
}

/** Downloads an untrusted URL: sends no key and follows no redirect. */
async function download(
  source: string,
  collector: ImageCollector,
  { localDevelopment, signal }: DownloadOptions,
): Promise<CheckedImage> {
  const url = URL.parse(source);
  if (url === null || !isPublicUrl(url, localDevelopment)) return { problem: NOT_PUBLIC };
  for (let attempt = 1; ; attempt += 1) {
    try {
      if (attempt > 1) await scheduler.wait(DOWNLOAD_PAUSE_MS, { signal });
      return await downloadOnce(url, collector.open(), signal);
    } catch {
      if (signal.aborted || attempt === DOWNLOAD_ATTEMPTS) return { problem: NOT_DOWNLOADED };
    }
  }
}

/**
 * Downloads an image into its writer. A returned problem is final.
 *
 * @throws if the download may be retried
 */
async function downloadOnce(
  url: URL,
  writer: ImageWriter,
  signal: AbortSignal,
): Promise<CheckedImage> {
  const response = await fetch(url, { redirect: "manual", signal });
  if (response.body === null || !response.ok) {
    await response.body?.cancel();
    if (response.status >= 500) throw new Error(NOT_DOWNLOADED);
    return { problem: `${NOT_DOWNLOADED} (status ${response.status})` };
  }
  try {
    // The writer ends the reading of an image that is too large.
    for await (const chunk of readChunks(response.body, IMAGE_MAX_BYTES + READ_BYTES)) {
      if (!writer.write(chunk)) break;
    }
    return writer.end();
  } catch (error) {
    writer.abort();
    throw error;
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
