import type { ImageSource } from "../generation/result.ts";
import { readChunks, READ_BYTES, readExactly } from "../lib/streams.ts";

/** A piece of a body: text, or an image. */
export type Part = string | ImagePart;

/** An image in a body, encoded as base64. */
export interface ImagePart {
  open: ImageSource;
  sizeBytes: number;
}

/** Base64 of at most this size is encoded in one piece. More is streamed, so that it does not fill the memory. */
export const WHOLE_BASE64_BYTES = 256 * 1024;

/** Keeps the runtime alive until the work is done. */
export type WaitUntil = (work: Promise<unknown>) => void;

const encoder = new TextEncoder();

/** Returns the number of base64 characters for a number of bytes (RFC 4648, 4). */
export function base64Length(bytes: number): number {
  return 4 * Math.ceil(bytes / 3);
}

/** Returns the number of bytes of a text in UTF-8. */
export function byteLength(text: string): number {
  return encoder.encode(text).byteLength;
}

/**
 * Returns a body in one piece, if it is small enough for memory. This saves a copy and a stream.
 *
 * @param length of all parts, in bytes
 */
export async function wholeBody(parts: readonly Part[], length: number): Promise<Uint8Array> {
  const body = new Uint8Array(length);
  let end = 0;
  for (const part of parts) {
    const text = typeof part === "string" ? part : (await readImage(part)).toBase64();
    end += encoder.encodeInto(text, body.subarray(end)).written;
  }
  if (end !== length) throw new Error("a body does not have its computed length");
  return body;
}

async function readImage({ open, sizeBytes }: ImagePart): Promise<Uint8Array> {
  return readExactly(await open(), sizeBytes);
}

/**
 * Streams a body of known length, in pieces. Its first piece is read before this returns, so that a failed
 * read is an error response.
 *
 * @param length of all pieces, in bytes
 * @throws {Error} if the first piece cannot be read
 */
export async function streamedBody(
  pieces: AsyncGenerator<Uint8Array, void>,
  length: number,
  waitUntil: WaitUntil,
): Promise<ReadableStream> {
  const first = await pieces.next();
  const { readable, writable } = new FixedLengthStream(length);
  waitUntil(writePieces(first, pieces, writable));
  return readable;
}

/** Writes groups of parts, each as soon as it arrives, and closes the body. */
export async function writeBody(
  groups: AsyncIterable<readonly Part[]>,
  writable: WritableStream,
): Promise<void> {
  await writePieces(undefined, piecesOfAll(groups), writable);
}

/**
 * Writes pieces and closes the body.
 *
 * If the client disconnects or an image cannot be read, the body is cut. After the status was sent,
 * there is no other way to report an error.
 *
 * @param first the piece that was read before; absent if none was
 */
async function writePieces(
  first: IteratorResult<Uint8Array, void> | undefined,
  pieces: AsyncGenerator<Uint8Array, void>,
  writable: WritableStream,
): Promise<void> {
  const writer = writable.getWriter();
  try {
    let next = first ?? (await pieces.next());
    while (next.done !== true) {
      await writer.write(next.value);
      next = await pieces.next();
    }
    await writer.close();
  } catch (error) {
    // Cancels the source of the current image.
    await Promise.allSettled([pieces.return(), writer.abort(error)]);
  }
}

/**
 * Encodes parts. Memory holds one chunk of an image at a time, in reused buffers, so a piece is valid only
 * until the next one is requested. A text is sent in one piece with the image after it: each piece costs a
 * promise.
 */
export async function* piecesOf(parts: readonly Part[]): AsyncGenerator<Uint8Array, void> {
  let text = "";
  for (const part of parts) {
    if (typeof part === "string") {
      text += part;
    } else {
      yield* imagePieces(text, part);
      text = "";
    }
  }
  if (text !== "") yield encoder.encode(text);
}

async function* piecesOfAll(
  groups: AsyncIterable<readonly Part[]>,
): AsyncGenerator<Uint8Array, void> {
  for await (const parts of groups) yield* piecesOf(parts);
}

async function* imagePieces(
  before: string,
  { open, sizeBytes }: ImagePart,
): AsyncGenerator<Uint8Array, void> {
  const head = encoder.encode(before);
  const chunkChars = base64Length(Math.min(sizeBytes, READ_BYTES));
  const piece = new Uint8Array(head.byteLength + chunkChars);
  piece.set(head);
  let start = head.byteLength;
  let readBytes = 0;
  for await (const chunk of readChunks(await open(), sizeBytes)) {
    readBytes += chunk.byteLength;
    const { written } = encoder.encodeInto(chunk.toBase64(), piece.subarray(start));
    yield piece.subarray(0, start + written);
    start = 0;
  }
  if (readBytes !== sizeBytes) throw new Error("an image is shorter than its record says");
}
