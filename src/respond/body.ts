/** A piece of a body: text, or an image that goes as base64, read when its turn comes or before. */
export type Part = string | { image: () => Promise<Uint8Array> } | { bytes: Uint8Array };

/** Takes work that the runtime is to stay alive for. */
export type WaitUntil = (work: Promise<unknown>) => void;

/** What is encoded at a time; a multiple of three, so that the pieces join without padding. */
const ENCODE_BYTES = 192 * 1024;

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
 * Writes a body part by part, one image in memory at a time, and closes it.
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
      else await writeImage("bytes" in part ? part.bytes : await part.image(), writer);
    }
    await writer.close();
  } catch (error) {
    await writer.abort(error).catch(() => undefined);
  }
}

async function writeImage(bytes: Uint8Array, writer: WritableStreamDefaultWriter): Promise<void> {
  for (let start = 0; start < bytes.byteLength; start += ENCODE_BYTES) {
    const piece = bytes.subarray(start, start + ENCODE_BYTES).toBase64();
    await writer.write(encoder.encode(piece));
  }
}
