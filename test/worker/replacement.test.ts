import { describe, expect, it } from "vitest";
import type { GenerationRecord } from "../../src/contract/record.ts";
import type { GenerationBody } from "../support/stage.ts";
import { newBody } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { OBJECTS, passKvTime, setKvFault } from "../support/worker/edge-kv.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  bindings,
  copied,
  fetchWorker,
  keyOf,
  post,
  sharedObject,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { passTime, setClockAhead } from "../support/worker/pass-time.ts";

quietAndFresh({ expectsErrors: true });

const NOT_OLDER_THAN_NOW = { "cache-control": "max-age=0" };

async function bodyOf(response: Response): Promise<GenerationBody> {
  return response.json<GenerationBody>();
}

async function statusesOf(urls: readonly (string | undefined)[]): Promise<number[]> {
  return Promise.all(urls.map(async (url) => (await fetchWorker(String(url))).status));
}

describe("a generation that is not copied to KV yet", () => {
  it("keeps every image URL when another client sends `max-age=0`", async () => {
    const body = { ...newBody(), n: 4, response_format: "url" };
    setKvFault(OBJECTS, "put", "fails");
    const first = await bodyOf(await post(body));
    setClockAhead(2);
    const second = await bodyOf(await post(body, NOT_OLDER_THAN_NOW));
    expect(second.id).not.toBe(first.id);
    const urls = [...first.data, ...second.data].map(({ url }) => url);
    expect(await statusesOf(urls)).toEqual(urls.map(() => 200));
    setKvFault(OBJECTS, "put", undefined);
    await passTime(2);
    await copied(2);
    expect(await upstreamCalls(body.prompt)).toBe(2);
  });

  it("is followed by one generation for all requests that do not accept it", async () => {
    const body = { ...newBody("[upstream delay=200]"), response_format: "url" };
    await post(body);
    await copied();
    setClockAhead(2);
    const responses = await Promise.all(
      Array.from({ length: 10 }, async () => bodyOf(await post(body, NOT_OLDER_THAN_NOW))),
    );
    expect(new Set(responses.map(({ id }) => id)).size).toBe(1);
    expect(await upstreamCalls(body.prompt)).toBe(2);
  });
});

describe("the record under a request key", () => {
  it("is never replaced by an older one whose copy was late", async () => {
    const body = newBody();
    const key = `request/${await keyOf(body)}`;
    setKvFault(OBJECTS, "put", "fails");
    const older = await bodyOf(await post(body, { "cache-control": "no-cache" }));
    setClockAhead(2);
    setKvFault(OBJECTS, "put", undefined);
    const newer = await bodyOf(await post(body, { "cache-control": "no-cache" }));
    await eventually(async () => {
      const record = await bindings().CACHE.get<GenerationRecord>(key, "json");
      expect(record?.id).toBe(newer.id);
    });
    passKvTime(2);
    await passTime(2);
    await copied(2);
    const stored = await bindings().CACHE.get<GenerationRecord>(key, "json");
    expect(stored?.id).toBe(newer.id);
    // The older one is still stored by its id.
    expect((await fetchWorker(`/v1/images/generations/${older.id}`)).status).toBe(200);
  });

  it("is that of the newest generation, in whatever order the copies arrive", async () => {
    const body = newBody();
    const key = await keyOf(body);
    const object = await sharedObject(body);
    const record = (id: string, created: number): GenerationRecord => ({
      version: 1,
      id,
      created,
      model: "gpt-image-2",
      resolved: {},
      usage: { input_tokens: 1, output_tokens: 1, total_tokens: 2 },
      images: [{ type: "png", bytes: 9 }],
    });
    for (const [id, created] of [
      ["b", 20],
      ["a", 10],
      ["c", 30],
      ["d", 30],
    ] as const) {
      await object.publish(key, record(id, created));
      passKvTime(2);
    }
    const stored = await bindings().CACHE.get<GenerationRecord>(`request/${key}`, "json");
    expect(stored?.id).toBe("d");
    await object.withdraw(key, "b");
    expect(await bindings().CACHE.get(`request/${key}`)).not.toBeNull();
    passKvTime(2);
    await object.withdraw(key, "d");
    expect(await bindings().CACHE.get(`request/${key}`)).toBeNull();
  });
});

describe("a generation with fewer images than requested", () => {
  it("is delivered and stored by its id, and the next request generates again", async () => {
    const body = { ...newBody("[upstream images=1 times=1]"), n: 2, response_format: "url" };
    const response = await post(body);
    expect(response.headers.get("cache-status")).toBe("darkroom; fwd=miss");
    const first = await bodyOf(response);
    expect(first.data).toHaveLength(1);
    await eventually(async () => {
      const { keys } = await bindings().CACHE.list();
      expect(keys.map(({ name }) => name).toSorted()).toEqual([
        `generation/${first.id}`,
        `image/${first.id}/0`,
      ]);
    });
    const second = await bodyOf(await post(body));
    expect(second.data).toHaveLength(2);
    expect(await statusesOf([...first.data, ...second.data].map(({ url }) => url))).toEqual([
      200, 200, 200,
    ]);
    expect(await upstreamCalls(body.prompt)).toBe(2);
  });

  it("is joined by the requests that wait for it", async () => {
    const body = {
      ...newBody("[upstream images=1 times=1 delay=300]"),
      n: 2,
      response_format: "url",
    };
    const bodies = await Promise.all(
      [post(body), post(body)].map(async (each) => bodyOf(await each)),
    );
    expect(new Set(bodies.map(({ id }) => id)).size).toBe(1);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});
