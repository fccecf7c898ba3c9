import { describe, expect, it } from "vitest";
import { kvCache, type Cache } from "../../src/cache/cache.ts";
import type { GenerationRecord } from "../../src/contract/record.ts";
import { WITHOUT_WAITING } from "../../src/generation/protocol.ts";
import { newIdInObject } from "../../src/lib/object-id.ts";
import { newBody } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { kvAt, OBJECTS } from "../support/worker/edge-kv.ts";
import {
  bindings,
  changeEnvironment,
  failingKv,
  post,
  sharedObject,
  testConfig,
} from "../support/worker/harness.ts";
import { passTime } from "../support/worker/pass-time.ts";

quietAndFresh({ expectsErrors: true });

const SIZE = 300_000;
const CHUNK = 100_000;

const RECORD: GenerationRecord = {
  version: 1,
  id: newIdInObject("gen", "0".repeat(64)),
  created: 1_795_000_000,
  model: "gpt-image-2",
  resolved: {},
  usage: { input_tokens: 1, output_tokens: 2, total_tokens: 3 },
  images: [{ type: "png", bytes: SIZE }],
};

/** An image that was opened for a write. */
interface Opened {
  body: ReadableStream;
  isCancelled: boolean;
}

/**
 * Opens an image of this size, in chunks.
 *
 * @param failsAt the number of bytes after which it cannot be read
 */
function opened(size: number, failsAt = Number.POSITIVE_INFINITY): Opened {
  let sent = 0;
  const image: Opened = {
    isCancelled: false,
    body: new ReadableStream({
      type: "bytes",
      pull(controller) {
        if (sent >= failsAt) throw new Error("the image is gone");
        if (sent === size) {
          controller.close();
          controller.byobRequest?.respond(0);
          return;
        }
        const length = Math.min(CHUNK, size - sent);
        controller.enqueue(new Uint8Array(length).fill(7));
        sent += length;
      },
      cancel() {
        image.isCancelled = true;
      },
    }),
  };
  return image;
}

function cacheOf(kv: KVNamespace): Cache {
  return kvCache(testConfig({ CACHE: kv }));
}

async function namesInKv(): Promise<string[]> {
  return (await bindings().CACHE.list()).keys.map(({ name }) => name);
}

describe("storing an image from a stream", () => {
  it("stores all of its bytes", async () => {
    const cache = cacheOf(kvAt(OBJECTS));
    await cache.storeImage(RECORD, 0, () => opened(SIZE).body);
    const stored = await bindings().CACHE.get(`image/${RECORD.id}/0`, "arrayBuffer");
    expect(new Uint8Array(stored ?? expect.fail("nothing is stored"))).toEqual(
      new Uint8Array(SIZE).fill(7),
    );
  });

  it.each([
    ["is shorter than its record says", SIZE - 1, undefined],
    ["is longer than its record says", SIZE + 1, undefined],
    ["is empty", 0, undefined],
    ["fails at its start", SIZE, 0],
    ["fails at its end", SIZE, SIZE],
    ["fails between two chunks", SIZE, CHUNK],
  ])("fails and stores nothing if the stream %s", async (_, size, failsAt) => {
    const storing = cacheOf(kvAt(OBJECTS)).storeImage(RECORD, 0, () => opened(size, failsAt).body);
    await expect(storing).rejects.toThrow(Error);
    expect(await namesInKv()).toEqual([]);
  });

  it("cancels the stream if KV rejects the write", async () => {
    const image = opened(SIZE);
    const storing = cacheOf(failingKv("put")).storeImage(RECORD, 0, () => image.body);
    await expect(storing).rejects.toThrow("KV is down");
    expect(image.isCancelled).toBe(true);
  });
});

describe("the deletion of a generation", () => {
  it("leaves nothing in KV if it comes between two chunks of a copied image", async () => {
    const body = { ...newBody("[upstream bytes=5000000]"), response_format: "url" };
    const object = await sharedObject(body);
    const kv = kvAt(OBJECTS);
    const { promise: opened, resolve: open } = Promise.withResolvers<void>();
    let copiedBytes = 0;
    const put = async (
      key: string,
      value: ReadableStream<Uint8Array> | string,
      options: KVNamespacePutOptions,
    ) => {
      if (typeof value === "string") return kv.put(key, value, options);
      const { readable, writable } = new FixedLengthStream(5_000_000);
      const writing = kv.put(key, readable, options);
      const writer = writable.getWriter();
      for await (const chunk of value) {
        copiedBytes += chunk.byteLength;
        if (copiedBytes > 2_000_000) await opened;
        await writer.write(chunk);
      }
      await writer.close();
      return writing;
    };
    await changeEnvironment(object, {
      CACHE: new Proxy(kv, {
        get: (target, name): unknown => (name === "put" ? put : Reflect.get(target, name)),
      }),
    });
    const { id } = await (await post(body)).json<{ id: string }>();
    await eventually(() => expect(copiedBytes).toBeGreaterThan(2_000_000));
    await object.forget(id);
    expect(await object.progress(id, WITHOUT_WAITING)).toBeUndefined();
    open();
    await eventually(() => expect(copiedBytes).toBe(5_000_000));
    await passTime(1);
    await eventually(async () => expect(await namesInKv()).toEqual([]));
  });
});
