import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import type { Tombstone } from "../../src/generation/notes.ts";
import type { GenerationBody } from "../support/stage.ts";
import { newBody } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { holdKvWrites, OBJECTS, passKvTime } from "../support/worker/edge-kv.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  ADMIN,
  bindings,
  changeEnvironment,
  copied,
  environment,
  errorOf,
  fetchWorker,
  forgotten,
  post,
  sharedObject,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { shortenLimits } from "../support/worker/hanging-calls.ts";
import { passTime, setClockAhead } from "../support/worker/pass-time.ts";

quietAndFresh({ expectsErrors: true });

const PATH = "/v1/images/generations";

function remove(id: string): Promise<Response> {
  return fetchWorker(`${PATH}/${id}`, environment(), { method: "DELETE", headers: ADMIN });
}

async function idOf(response: Response): Promise<string> {
  return (await response.json<GenerationBody>()).id;
}

async function namesInKv(): Promise<string[]> {
  return (await bindings().CACHE.list()).keys.map(({ name }) => name);
}

/** Images, then the record by its id, then the record under the request key. */
const WRITES_OF_TWO_IMAGES = [0, 1, 2, 3];

describe("the deletion of a generation", () => {
  it("is rejected with 409 while it is in progress, and the image is not lost", async () => {
    const body = newBody("[upstream delay=500]");
    const id = await idOf(await post(body, { prefer: "respond-async" }));
    expect(await errorOf(await remove(id))).toEqual([409, "generation_in_progress", null]);
    await copied();
    expect((await remove(id)).status).toBe(204);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  /** Generates two images. Returns once a write of their copy has begun, which waits. */
  async function duringWrite(number: number) {
    const body = { ...newBody(), n: 2, response_format: "url" };
    const gate = holdKvWrites(OBJECTS, number);
    const id = await idOf(await post(body));
    await eventually(() => expect(gate.begun).toHaveLength(number + 1));
    return { body, gate, id };
  }

  it.each(WRITES_OF_TWO_IMAGES)(
    "leaves nothing in KV if it comes during write %i of the copy",
    async (number) => {
      const { body, gate, id } = await duringWrite(number);
      const removal = remove(id);
      await forgotten(body, id);
      gate.open();
      expect((await removal).status).toBe(204);
      await eventually(async () => expect(await namesInKv()).toEqual([]));
      await passTime(1);
      expect(await namesInKv()).toEqual([]);
      passKvTime(60);
      expect((await fetchWorker(`${PATH}/${id}`)).status).toBe(404);
    },
  );

  it.each(WRITES_OF_TWO_IMAGES)(
    "leaves nothing in KV if it comes during write %i of the copy, which fails",
    async (number) => {
      const { body, gate, id } = await duringWrite(number);
      const removal = remove(id);
      await forgotten(body, id);
      gate.fail();
      expect((await removal).status).toBe(204);
      await passTime(1);
      await eventually(async () => expect(await namesInKv()).toEqual([]));
      expect((await post(body)).status).toBe(200);
      await copied();
    },
  );

  it.each(WRITES_OF_TWO_IMAGES)(
    "leaves nothing in KV if it comes during write %i of the copy, which happens after its time limit",
    async (number) => {
      shortenLimits();
      const { body, gate, id } = await duringWrite(number);
      expect((await remove(id)).status).toBe(204);
      const object = await sharedObject(body);
      await eventually(async () => {
        const purged = await runInDurableObject(object, (_, { storage }) => [
          ...storage.kv.list<Tombstone>({ prefix: "deleted/" }),
        ]);
        expect(purged.map(([, { isLast }]) => isLast)).toEqual([true]);
      });
      expect(await namesInKv()).toEqual([]);
      passKvTime(2);
      gate.open();
      // The write of an image is cut at its limit, that of a record is not.
      if (number >= 2) await eventually(async () => expect(await namesInKv()).toHaveLength(1));
      await passTime(10 * 60);
      expect(await namesInKv()).toEqual([]);
    },
  );

  it.each(WRITES_OF_TWO_IMAGES)(
    "leaves the image of the next request if it comes during write %i of the copy",
    async (number) => {
      const { body, gate, id } = await duringWrite(number);
      const removal = remove(id);
      await forgotten(body, id);
      const next = post(body);
      gate.open();
      expect((await removal).status).toBe(204);
      const nextId = await idOf(await next);
      await copied();
      await passTime(10 * 60);
      const names = await namesInKv();
      expect(names.filter((name) => name.includes(id))).toEqual([]);
      expect(names).toContain(`generation/${nextId}`);
      expect(await upstreamCalls(body.prompt)).toBe(2);
    },
  );

  it("deletes again ten minutes later what a lost write of a dead instance has left", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    const id = await idOf(await post(body));
    await copied();
    expect((await remove(id)).status).toBe(204);
    await passTime(2);
    await evictDurableObject(object);
    await bindings().CACHE.put(`image/${id}/0`, "late", {
      metadata: { type: "png", sizeBytes: 4 },
    });
    await passTime(10 * 60);
    expect(await namesInKv()).toEqual([]);
    await passTime(1);
    const stored = await runInDurableObject(object, (_, state) => [
      ...state.storage.kv.list({ prefix: "deleted/" }),
    ]);
    expect(stored).toEqual([]);
  });

  it("deletes again although the configuration was invalid meanwhile", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    const id = await idOf(await post(body));
    await copied();
    expect((await remove(id)).status).toBe(204);
    await passTime(2);
    await changeEnvironment(object, { CACHE_TTL_SECONDS: "invalid" });
    await bindings().CACHE.put(`image/${id}/0`, "late");
    await passTime(10 * 60);
    await changeEnvironment(object, {});
    await passTime(2);
    expect(await namesInKv()).toEqual([]);
  });

  it("does not delete the record of a newer generation of the same request", async () => {
    const body = newBody();
    const older = await idOf(await post(body));
    await copied();
    setClockAhead(2);
    const newer = await idOf(await post(body, { "cache-control": "no-cache" }));
    await copied(2);
    passKvTime(60);
    expect((await remove(older)).status).toBe(204);
    await passTime(2);
    expect(await idOf(await post(body))).toBe(newer);
    expect(await upstreamCalls(body.prompt)).toBe(2);
  });
});
