/** More bytes came than the reader allows; the rest was not read. */
export class TooManyBytes extends Error {
  override readonly name = "TooManyBytes";
  readonly limitBytes: number;

  constructor(limitBytes: number) {
    super(`more than ${limitBytes} bytes`);
    this.limitBytes = limitBytes;
  }
}

/** The size of a bulk chunk: a multiple of three, so that base64 of the chunks joins unpadded. */
export const READ_BYTES = 192 * 1024;

/**
 * How a stream is read. `bulk` gathers large chunks: the runtime's own are about 4 KiB, and each
 * costs a promise. `live` gives what there is as soon as it is there.
 */
export type Reading = "bulk" | "live";

/**
 * The bytes of a native stream (a body, a value from KV) in chunks.
 *
 * A chunk is good until the next one is asked for: its buffer is used again.
 *
 * @throws {TooManyBytes} as soon as more than `limitBytes` were read; the stream is cancelled
 */
export async function* chunksOf(
  stream: ReadableStream<Uint8Array>,
  limitBytes: number,
  reading: Reading = "bulk",
): AsyncGenerator<Uint8Array, void> {
  const reader = stream.getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(Math.min(READ_BYTES, limitBytes + 1));
  let total = 0;
  let drained = false;
  try {
    for (;;) {
      // Never more than shows whether the limit is passed: whoever sends too much hears it at once.
      const wanted = reading === "live" ? 1 : Math.min(READ_BYTES, limitBytes - total + 1);
      const { done, value } = await reader.readAtLeast(wanted, new Uint8Array(buffer));
      if (value !== undefined && value.byteLength > 0) {
        total += value.byteLength;
        if (total > limitBytes) throw new TooManyBytes(limitBytes);
        yield value;
        buffer = value.buffer;
      }
      if (done || value.byteLength < wanted) break;
    }
    drained = true;
  } finally {
    if (!drained) await reader.cancel();
  }
}

/** What a stream of unknown size is first read into: most bodies are a line of JSON. */
const FIRST_READ_BYTES = 4 * 1024;
const GROWTH = 4;

/**
 * All bytes of a native stream, in one buffer that grows.
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
 * All bytes of a native stream whose size is known: read at once, and copied nowhere.
 *
 * @throws {TooManyBytes} when there are more; the stream is cancelled
 * @throws {Error} when there are fewer
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
  // One byte more shows whether the limit is passed.
  const mostBytes = limitBytes + 1;
  let buffer = new ArrayBuffer(Math.min(mostBytes, firstBytes));
  let total = 0;
  for (;;) {
    const wanted = buffer.byteLength - total;
    const { done, value } = await reader.readAtLeast(wanted, new Uint8Array(buffer, total));
    if (value !== undefined) {
      total += value.byteLength;
      buffer = value.buffer;
    }
    if (done || value.byteLength < wanted) return new Uint8Array(buffer, 0, total);
    if (total === mostBytes) {
      await reader.cancel();
      throw new TooManyBytes(limitBytes);
    }
    buffer = buffer.transfer(Math.min(mostBytes, total * GROWTH));
  }
}

/** The chunks one behind another. */
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
