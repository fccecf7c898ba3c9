import type { ImageSource } from "../generation/result.ts";
import { readChunks, READ_BYTES, readExactly } from "../lib/streams.ts";

/** A piece of a body: text, or an image. */
export type Part = string | ImagePart;

/** An image in a body, encoded as base64. */
export interface ImagePart {
  open: ImageSource;
  sizeBytes: number;
}

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
 * Writes a body part by part and closes it. Memory holds one chunk of an image at a time, in reused
 * buffers.
 *
 * If the client disconnects or an image cannot be read, the body is cut. After the status was sent,
 * there is no other way to report an error.
 */
export async function writeBody(
  parts: AsyncIterable<Part> | Iterable<Part>,
  writable: WritableStream,
): Promise<void> {
  const writer = writable.getWriter();
  try {
    for await (const part of parts) {
      if (typeof part === "string") await writer.write(encoder.encode(part));
      else await writeImage(part, writer);
    }
    await writer.close();
  } catch (error) {
    await writer.abort(error).catch(() => undefined);
  }
}

async function writeImage(
  { open, sizeBytes }: ImagePart,
  writer: WritableStreamDefaultWriter,
): Promise<void> {
  const encoded = new Uint8Array(base64Length(Math.min(sizeBytes, READ_BYTES)));
  let readBytes = 0;
  for await (const chunk of readChunks(await open(), sizeBytes)) {
    readBytes += chunk.byteLength;
    const { written } = encoder.encodeInto(chunk.toBase64(), encoded);
    await writer.write(encoded.subarray(0, written));
  }
  if (readBytes !== sizeBytes) throw new Error("an image is shorter than its record says");
}
