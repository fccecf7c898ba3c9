import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { responseWithoutData } from "../../src/contract/response.ts";
import type { GenerationRecord } from "../../src/contract/record.ts";
import type { CompletedGeneration } from "../../src/generation/result.ts";
import { READ_BYTES } from "../../src/lib/streams.ts";
import { newIdInObject } from "../../src/lib/object-id.ts";
import { WHOLE_BASE64_BYTES } from "../../src/respond/body.ts";
import { eventStreamResponse } from "../../src/respond/event-stream.ts";
import { fileResponse } from "../../src/respond/file.ts";
import { jsonResponse } from "../../src/respond/json.ts";
import { eventually } from "../support/eventually.ts";
import { ORIGIN } from "../support/worker/harness.ts";

/** The size up to which an image's base64 is at most `WHOLE_BASE64_BYTES`. */
const WHOLE_BYTES = (WHOLE_BASE64_BYTES / 4) * 3;
const LARGE_BYTES = 3_000_000;
/** How far a response may read an image ahead of its client. */
const AHEAD_BYTES = 1_000_000;
const SOURCE_CHUNK_BYTES = 64 * 1024;

/** An image that counts how much of it was read. */
interface Source {
  bytes: Uint8Array;
  open: () => Promise<ReadableStream<Uint8Array>>;
  readBytes: number;
  isCancelled: boolean;
}

/**
 * Returns an image of this size.
 *
 * @param failsAt the number of bytes after which it cannot be read
 */
function source(size: number, failsAt = Number.POSITIVE_INFINITY): Source {
  const bytes = Uint8Array.from({ length: size }, (_, index) => (index * 7 + (index >> 8)) % 256);
  const image: Source = {
    bytes,
    readBytes: 0,
    isCancelled: false,
    open: () => {
      const stream = new ReadableStream({
        type: "bytes",
        pull(controller) {
          if (image.readBytes >= failsAt) throw new Error("the image cannot be read");
          const end = Math.min(size, failsAt, image.readBytes + SOURCE_CHUNK_BYTES);
          if (end === image.readBytes) {
            controller.close();
            controller.byobRequest?.respond(0);
            return;
          }
          controller.enqueue(bytes.slice(image.readBytes, end));
          image.readBytes = end;
        },
        cancel() {
          image.isCancelled = true;
        },
      });
      return Promise.resolve(stream);
    },
  };
  return image;
}

function recordOf(sources: readonly Source[]): GenerationRecord {
  return {
    version: 1,
    id: newIdInObject("gen", "0".repeat(64)),
    created: 1_795_000_000,
    model: "gpt-image-1.5",
    resolved: { output_format: "png", size: "1024x1024" },
    usage: { input_tokens: 1, output_tokens: 2, total_tokens: 3 },
    images: sources.map(({ bytes }, index) => ({
      type: "png",
      bytes: bytes.byteLength,
      ...(index % 2 === 0 ? {} : { revised_prompt: "a man wälks" }),
    })),
  };
}

function generationOf(sources: readonly Source[]): CompletedGeneration {
  return {
    kind: "completed",
    record: recordOf(sources),
    images: sources.map(({ open }) => open),
    outcome: { kind: "hit", ageSeconds: 0, ttlSeconds: 1 },
  };
}

/** Returns the options of a response, and waits for its work. */
function pendingWork() {
  const work: Promise<unknown>[] = [];
  const options = {
    responseFormat: "b64_json" as const,
    origin: ORIGIN,
    more: { safety_identifier: "a" },
    waitUntil: (each: Promise<unknown>) => void work.push(each),
  };
  return { options, end: () => Promise.all(work) };
}

/** Returns a range of an image as a file. */
function rangeOf({ bytes }: Source, body: ReadableStream<Uint8Array>, range: string) {
  const { options, end } = pendingWork();
  const image = { type: "png" as const, sizeBytes: bytes.byteLength, body };
  const conditions = { ifNoneMatch: undefined, ifRange: undefined, range, head: false };
  const identity = { etag: '"a"', cacheControl: "no-store" };
  const { waitUntil } = options;
  return { responding: fileResponse(image, identity, { ...conditions, waitUntil }), end };
}

/** Sizes around the threshold and around the chunks that an image is read in. */
const sizes = fc.oneof(
  ...[WHOLE_BYTES, READ_BYTES, 2 * READ_BYTES, 3 * READ_BYTES].map((size) =>
    fc.integer({ min: size - 4, max: size + 4 }),
  ),
  fc.integer({ min: 1, max: 3 * READ_BYTES }),
);

describe("a generation with base64", () => {
  it("is the same JSON with any sizes and numbers of images", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(sizes, { minLength: 1, maxLength: 3 }), async (each) => {
        const sources = each.map((size) => source(size));
        const { options, end } = pendingWork();
        const generation = generationOf(sources);
        const response = await jsonResponse(generation, options);
        const body: Record<string, unknown> & { data: object[] } = await response.json();
        await end();
        const data = sources.map(({ bytes }, index) => {
          const prompt = generation.record.images[index]?.revised_prompt;
          const b64_json = bytes.toBase64();
          return prompt === undefined ? { b64_json } : { b64_json, revised_prompt: prompt };
        });
        const expected = { ...responseWithoutData(generation.record, ORIGIN), data };
        expect(body).toEqual({
          ...(JSON.parse(JSON.stringify(expected)) as object),
          safety_identifier: "a",
        });
        expect(Object.fromEntries(response.headers)).toEqual({
          "content-type": "application/json",
        });
      }),
      { numRuns: 40 },
    );
  });

  it.each([
    ["one image", 1],
    ["three images", 3],
  ])("reads at most 1 MB of %s that the client does not read", async (_, n) => {
    const sources = Array.from({ length: n }, () => source(LARGE_BYTES));
    const { options, end } = pendingWork();
    const response = await jsonResponse(generationOf(sources), options);
    await scheduler.wait(50);
    const readBytes = sources.reduce((sum, image) => sum + image.readBytes, 0);
    expect(readBytes).toBeLessThan(AHEAD_BYTES);
    await response.body?.cancel();
    await end();
  });

  it.each([
    ["JSON", jsonResponse],
    ["events", eventStreamResponse],
  ] as const)("cancels the image if the client disconnects: %s", async (_, respond) => {
    const image = source(LARGE_BYTES);
    const { options, end } = pendingWork();
    const response = await respond(generationOf([image]), options);
    const reader = response.body?.getReader();
    await reader?.read();
    await reader?.cancel();
    await eventually(() => expect(image.isCancelled).toBe(true));
    await end();
    expect(image.readBytes).toBeLessThan(AHEAD_BYTES);
  });

  it.each([
    ["large", LARGE_BYTES],
    ["small", 1000],
  ])("is an error if its %s image cannot be read", async (_, size) => {
    const { options } = pendingWork();
    const responding = jsonResponse(generationOf([source(size, 0)]), options);
    await expect(responding).rejects.toThrow("the image cannot be read");
  });

  it("is cut if an image cannot be read to its end", async () => {
    const { options, end } = pendingWork();
    const failing = source(LARGE_BYTES, LARGE_BYTES / 2);
    const response = await jsonResponse(generationOf([failing]), options);
    await expect(response.text()).rejects.toThrow("the image cannot be read");
    await end();
  });
});

describe("a range of an image", () => {
  it("has the same bytes as a slice of the image", async () => {
    const image = source(3 * READ_BYTES + 1000);
    const last = image.bytes.byteLength - 1;
    const edges = fc.oneof(
      ...[0, READ_BYTES, 2 * READ_BYTES, last - 2].map((at) =>
        fc.integer({ min: Math.max(0, at - 2), max: at + 2 }),
      ),
      fc.integer({ min: 0, max: last }),
    );
    await fc.assert(
      fc.asyncProperty(edges, edges, async (one, other) => {
        const [from, to] = one < other ? [one, other] : [other, one];
        // A native stream, as that of KV is.
        const { body } = new Response(image.bytes);
        if (body === null) throw new Error("the image has a body");
        const { responding, end } = rangeOf(image, body, `bytes=${from}-${to}`);
        const response = await responding;
        const bytes = new Uint8Array(await response.arrayBuffer());
        await end();
        expect(response.status).toBe(206);
        expect(response.headers.get("content-length")).toBe(String(to - from + 1));
        expect(response.headers.get("content-range")).toBe(`bytes ${from}-${to}/${last + 1}`);
        expect(bytes).toEqual(image.bytes.slice(from, to + 1));
      }),
      { numRuns: 60 },
    );
  });

  it("reads nothing after the range, and cancels the image", async () => {
    const image = source(LARGE_BYTES);
    const { responding, end } = rangeOf(image, await image.open(), "bytes=10-10");
    expect((await (await responding).arrayBuffer()).byteLength).toBe(1);
    await end();
    expect(image.isCancelled).toBe(true);
    expect(image.readBytes).toBeLessThan(AHEAD_BYTES);
  });

  it("reads at most 1 MB ahead of a client that does not read", async () => {
    const image = source(LARGE_BYTES);
    const { responding, end } = rangeOf(image, await image.open(), "bytes=10-");
    const response = await responding;
    await scheduler.wait(50);
    expect(image.readBytes).toBeLessThan(AHEAD_BYTES);
    await response.body?.cancel();
    await end();
    expect(image.isCancelled).toBe(true);
  });

  it("is an error if the image cannot be read up to it", async () => {
    const image = source(LARGE_BYTES, LARGE_BYTES / 2);
    const { responding } = rangeOf(image, await image.open(), `bytes=${LARGE_BYTES - 1}-`);
    await expect(responding).rejects.toThrow("the image cannot be read");
  });
});
