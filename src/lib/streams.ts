/** Thrown if a stream has more bytes than the limit. The rest was not read. */
export class TooManyBytes extends Error {
  override readonly name = "TooManyBytes";
  readonly limitBytes: number;

  constructor(limitBytes: number) {
    super(`more than ${limitBytes} bytes`);
    this.limitBytes = limitBytes;
  }
}

/** The size of a bulk chunk. It is a multiple of three, so that base64 of the chunks can be joined. */
export const READ_BYTES = 192 * 1024;

/**
 * How a stream is read. `bulk` collects large chunks, because the runtime's own are about 4 KiB and
 * each costs a promise. `live` yields bytes as soon as they arrive.
 */
export type ReadMode = "bulk" | "live";

/**
 * Reads a native stream (a body, a value from KV) in chunks.
 *
 * A chunk is valid only until the next one is requested, because its buffer is reused.
 *
 * @throws {TooManyBytes} as soon as more than `limitBytes` were read; the stream is cancelled
 */
export async function* readChunks(
  stream: ReadableStream<Uint8Array>,
  limitBytes: number,
  mode: ReadMode = "bulk",
): AsyncGenerator<Uint8Array, void> {
  const reader = stream.getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(Math.min(READ_BYTES, limitBytes + 1));
  let total = 0;
  let drained = false;
  try {
    for (;;) {
      // At most one byte past the limit, so that a body over the limit is rejected at once.
      const minBytes = mode === "live" ? 1 : Math.min(READ_BYTES, limitBytes - total + 1);
      const { done, value } = await reader.readAtLeast(minBytes, new Uint8Array(buffer));
      if (value !== undefined && value.byteLength > 0) {
        total += value.byteLength;
        if (total > limitBytes) throw new TooManyBytes(limitBytes);
        yield value;
        buffer = value.buffer;
      }
      if (done || value.byteLength < minBytes) break;
    }
    drained = true;
  } finally {
    if (!drained) await reader.cancel();
  }
}

/**
 * Reads a part of a native stream in chunks, then cancels the stream. The bytes before the part are read and
 * discarded.
 *
 * A chunk is valid only until the next one is requested, because its buffer is reused.
 *
 * @param start of the part, in bytes
 * @param length of the part, in bytes
 * @throws {Error} if the stream ends before the part does
 */
export async function* readPart(
  stream: ReadableStream<Uint8Array>,
  start: number,
  length: number,
): AsyncGenerator<Uint8Array, void> {
  const reader = stream.getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(Math.min(READ_BYTES, Math.max(start, length)));
  const read = async (maxBytes: number) => {
    const bytes = Math.min(maxBytes, buffer.byteLength);
    const { value } = await reader.readAtLeast(bytes, new Uint8Array(buffer, 0, bytes));
    if (value === undefined || value.byteLength < bytes) throw new Error("a stream ended early");
    buffer = value.buffer;
    return value;
  };
  try {
    for (let left = start; left > 0;) left -= (await read(left)).byteLength;
    for (let left = length; left > 0;) {
      const chunk = await read(left);
      left -= chunk.byteLength;
      yield chunk;
    }
  } finally {
    await reader.cancel();
  }
}

/** The first buffer for a stream of unknown size. Most bodies are one line of JSON. */
const FIRST_READ_BYTES = 4 * 1024;
const GROWTH = 4;

/**
 * Reads all bytes of a native stream into one growing buffer.
 *
 * @throws {TooManyBytes} as soon as more than `limitBytes` were read; the stream is cancelled
 */
export function readAll(
  stream: ReadableStream<Uint8Array>,
  limitBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  return readInto(stream, limitBytes, FIRST_READ_BYTES);
}

/**
 * Reads all bytes of a native stream of known size with one read and without copying.
 *
 * @throws {TooManyBytes} if the stream has more bytes; it is cancelled
 * @throws {Error} if the stream has fewer bytes
 */
export async function readExactly(
  stream: ReadableStream<Uint8Array>,
  sizeBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await readInto(stream, sizeBytes, sizeBytes + 1);
  if (bytes.byteLength < sizeBytes) throw new Error("a stream ended early");
  return bytes;
}

async function readInto(
  stream: ReadableStream<Uint8Array>,
  limitBytes: number,
  firstBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const reader = stream.getReader({ mode: "byob" });
  // The extra byte shows whether the stream exceeds the limit.
  const maxBytes = limitBytes + 1;
  let buffer = new ArrayBuffer(Math.min(maxBytes, firstBytes));
  let total = 0;
  for (;;) {
    const freeBytes = buffer.byteLength - total;
    const { done, value } = await reader.readAtLeast(freeBytes, new Uint8Array(buffer, total));
    if (value !== undefined) {
      total += value.byteLength;
      buffer = value.buffer;
    }
    if (done || value.byteLength < freeBytes) return new Uint8Array(buffer, 0, total);
    if (total === maxBytes) {
      await reader.cancel();
      throw new TooManyBytes(limitBytes);
    }
    buffer = buffer.transfer(Math.min(maxBytes, total * GROWTH));
  }
}

/** Concatenates chunks. */
export function concat(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}
