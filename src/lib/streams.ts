/** More bytes came than the reader allows; the rest was not read. */
export class TooManyBytes extends Error {
  override readonly name = "TooManyBytes";
  readonly limitBytes: number;

  constructor(limitBytes: number) {
    super(`more than ${limitBytes} bytes`);
    this.limitBytes = limitBytes;
  }
}

/** The size of the buffer that is read into. */
const READ_BYTES = 256 * 1024;

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
  let buffer = new ArrayBuffer(READ_BYTES);
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

/**
 * All bytes of a native stream.
 *
 * @throws {TooManyBytes} as soon as more than `limitBytes` were read; the stream is cancelled
 */
export async function readAll(
  stream: ReadableStream<Uint8Array>,
  limitBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of chunksOf(stream, limitBytes)) chunks.push(chunk.slice());
  return concat(chunks);
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
