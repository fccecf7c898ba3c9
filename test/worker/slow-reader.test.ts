import { createExecutionContext, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { app } from "../../src/app.ts";
import type { Generation } from "../../src/generation/object.ts";
import { WITHOUT_WAITING } from "../../src/generation/protocol.ts";
import { newBody } from "../support/bodies.ts";
import type { GenerationBody } from "../support/stage.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  failingKv,
  environment,
  generationRequest,
  ORIGIN,
  post,
  sharedObject,
} from "../support/worker/harness.ts";
import { passTime } from "../support/worker/pass-time.ts";

quietAndFresh({ expectsErrors: true });

/** A response whose body is read in parts. */
interface SlowResponse {
  status: number;
  /** Reads at least this number of bytes. */
  read: (bytes: number) => Promise<void>;
  /** Reads to the end. Returns the whole body. */
  rest: () => Promise<Uint8Array>;
}

/** Sends a request. Its response is read only as far as the test does. */
async function slowly(request: Request, env: object): Promise<SlowResponse> {
  const response = await app.fetch(request, env, createExecutionContext());
  const reader = response.body?.getReader() ?? expect.fail("no body");
  const chunks: Uint8Array[] = [];
  let size = 0;
  const read = async (bytes: number): Promise<void> => {
    while (size < bytes) {
      const { done, value } = await reader.read();
      if (done) return;
      chunks.push(value.slice());
      size += value.byteLength;
    }
  };
  return {
    status: response.status,
    read,
    async rest() {
      await read(Number.POSITIVE_INFINITY);
      return new Uint8Array(await new Blob(chunks).arrayBuffer());
    },
  };
}

/** The environment of a Worker that reads images only from objects. */
const withoutKv = () => environment({ CACHE: failingKv("getWithMetadata") });

/** Returns the ids of the generations whose images an object stores. */
async function chunkIds(object: DurableObjectStub<Generation>): Promise<string[]> {
  return runInDurableObject(object, (_, { storage: { sql } }) => {
    const tables = sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'chunk'").toArray();
    if (tables.length === 0) return [];
    const rows = sql.exec<{ id: string }>("SELECT DISTINCT id FROM chunk").toArray();
    return rows.map(({ id }) => id);
  });
}

/** Generates three images of 4 MB, whose rows are larger than the buffers between an object and its reader. */
async function threeImages() {
  const body = { ...newBody("[upstream bytes=4000000]"), n: 3, response_format: "b64_json" };
  const { id, data } = await (await post(body)).json<GenerationBody>();
  const images = data.map(({ b64_json }) => String(b64_json));
  return { body, id, images, object: await sharedObject(body) };
}

function base64In(bytes: Uint8Array): string[] {
  const { data } = JSON.parse(new TextDecoder().decode(bytes)) as GenerationBody;
  return data.map(({ b64_json }) => String(b64_json));
}

const polled = (id: string) =>
  new Request(`${ORIGIN}/v1/images/generations/${id}?response_format=b64_json`);
const file = (id: string, index: number) => new Request(`${ORIGIN}/v1/images/${id}/${index}.png`);

describe("a slow reader of images in a Durable Object", () => {
  it.each(["a request that starts", "a lookup by id"])(
    "gets all bytes of three images although they are deleted and replaced meanwhile: %s",
    async (how) => {
      const isStart = how === "a request that starts";
      const made = isStart ? undefined : await threeImages();
      const body = made?.body ?? {
        ...newBody("[upstream bytes=4000000]"),
        n: 3,
        response_format: "b64_json",
      };
      const object = await sharedObject(body);
      const request = made === undefined ? generationRequest(body) : polled(made.id);
      const slow = await slowly(request, withoutKv());
      await slow.read(100_000);
      const [id = ""] = await chunkIds(object);
      await object.forget(id);
      expect(await object.image(id, 0)).toBeUndefined();
      expect(await object.progress(id, WITHOUT_WAITING)).toBeUndefined();
      const { id: newId } = await (await post(body, {}, withoutKv())).json<GenerationBody>();
      expect(newId).not.toBe(id);
      await passTime(5);
      const images = base64In(await slow.rest());
      expect(images.map((image) => image.length)).toEqual([5_333_336, 5_333_336, 5_333_336]);
      if (made !== undefined) expect(images).toEqual(made.images);
      expect(await chunkIds(object)).toContain(id);
      await passTime(10 * 60);
      expect(await chunkIds(object)).not.toContain(id);
    },
  );

  it("gets all bytes of a file although it is deleted meanwhile", async () => {
    const { id, images, object } = await threeImages();
    const slow = await slowly(file(id, 1), withoutKv());
    await slow.read(1);
    await object.forget(id);
    expect((await slow.rest()).toBase64()).toBe(images[1]);
  });

  it.each([
    ["JSON", polled],
    ["file", (id: string) => file(id, 0)],
  ])("gets an error, not a clean end, if the rows are gone: %s", async (_, requestOf) => {
    const { id, object } = await threeImages();
    const slow = await slowly(requestOf(id), withoutKv());
    expect(slow.status).toBe(200);
    await slow.read(1);
    await runInDurableObject(object, (__, state) => {
      state.storage.sql.exec("DELETE FROM chunk");
    });
    await expect(slow.rest()).rejects.toThrow(Error);
  });

  it.each([
    ["JSON", polled],
    ["file", (id: string) => file(id, 0)],
  ])(
    "gets an error response if the rows are gone before the first byte: %s",
    async (_, requestOf) => {
      const { id, object } = await threeImages();
      await runInDurableObject(object, (__, state) => {
        state.storage.sql.exec("DELETE FROM chunk");
      });
      const { status } = await slowly(requestOf(id), withoutKv());
      expect(status).toBe(500);
    },
  );
});
