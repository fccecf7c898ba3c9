import { describe, expect, it } from "vitest";
import { readChunks, readAll, TooManyBytes } from "../../src/lib/streams.ts";

function stream(bytes: Uint8Array): ReadableStream<Uint8Array> {
  const { body } = new Response(bytes);
  return body ?? expect.fail("no body");
}

function bytesOfLength(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => index % 251);
}

describe("reading a stream", () => {
  it.each([0, 1, 4096, 262_143, 262_144, 262_145, 1_000_000])(
    "returns all of %i bytes",
    async (length) => {
      const bytes = bytesOfLength(length);
      expect(await readAll(stream(bytes), length)).toEqual(bytes);
    },
  );

  it.each([1, 1000, 262_145])(
    "fails with TooManyBytes at the first byte above %i",
    async (limit) => {
      const reading = readAll(stream(bytesOfLength(limit + 1)), limit);
      await expect(reading).rejects.toThrow(TooManyBytes);
    },
  );

  it("combines small chunks into large ones", async () => {
    const { readable, writable } = new IdentityTransformStream();
    const writer = writable.getWriter();
    const writing = (async () => {
      for (let index = 0; index < 100; index += 1) await writer.write(bytesOfLength(5000));
      await writer.close();
    })();
    const lengths: number[] = [];
    for await (const chunk of readChunks(readable, 500_000)) lengths.push(chunk.byteLength);
    await writing;
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(500_000);
    expect(lengths.length).toBeLessThanOrEqual(3);
  });

  it("yields each chunk as it arrives in live mode", async () => {
    const { readable, writable } = new IdentityTransformStream();
    const writer = writable.getWriter();
    const chunks = readChunks(readable, 1000, "live");
    for (const length of [3, 1, 7]) {
      const [chunk] = await Promise.all([chunks.next(), writer.write(bytesOfLength(length))]);
      expect(chunk.value).toEqual(bytesOfLength(length));
    }
    await Promise.all([chunks.next(), writer.close()]);
  });

  it("fails with the error of an aborted stream", async () => {
    const { readable, writable } = new IdentityTransformStream();
    const reading = readAll(readable, 1000);
    const writer = writable.getWriter();
    await writer.write(bytesOfLength(10));
    await writer.abort(new Error("cut"));
    await expect(reading).rejects.toThrow("cut");
  });
});
