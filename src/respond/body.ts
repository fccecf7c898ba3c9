import type { ImageSource } from "../generation/result.ts";
import { readChunks, READ_BYTES, readExactly } from "../lib/streams.ts";

/** A piece of a body: text, or an image that goes as base64. */
export type Part = string | ImagePart;

export interface ImagePart {
  open: ImageSource;
  sizeBytes: number;
}

/** Takes work that the runtime is to stay alive for. */
export type WaitUntil = (work: Promise<unknown>) => void;

const encoder = new TextEncoder();

/** How many characters base64 of so many bytes has (RFC 4648, 4). */
export function base64Length(bytes: number): number {
  return 4 * Math.ceil(bytes / 3);
}

/** How many bytes a text has in UTF-8. */
export function byteLength(text: string): number {
  return encoder.encode(text).byteLength;
}

/**
 * A body in one piece, for what is small enough to be held: that takes a copy and a stream less.
 *
 * @param length in bytes, of all parts
 */
export async function wholeBody(parts: readonly Part[], length: number): Promise<Uint8Array> {
  const body = new Uint8Array(length);
  let end = 0;
  for (const part of parts) {
    const text = typeof part === "string" ? part : (await readImage(part)).toBase64();
    end += encoder.encodeInto(text, body.subarray(end)).written;
  }
  if (end !== length) throw new Error("a body has not the length that it should have");
  return body;
}

async function readImage({ open, sizeBytes }: ImagePart): Promise<Uint8Array> {
  return readExactly(await open(), sizeBytes);
}

/**
 * Writes a body part by part and closes it. Of an image there is one chunk in memory at a time, in
 * buffers that are used again.
 *
 * The client that leaves, and the image that cannot be read, end it early: a cut body is the only
 * way left to say so.
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
