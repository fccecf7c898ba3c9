import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { CLIENTS, OBJECTS, passKvTime, setKvFault } from "../support/worker/edge-kv.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  ADMIN,
  bindings,
  copied,
  environment,
  errorOf,
  fetchWorker,
  post,
  sharedObject,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { passTime } from "../support/worker/pass-time.ts";
import type { GenerationBody } from "../support/stage.ts";
import { newBody } from "../support/bodies.ts";

/*
 * A KV location that looks up a key too early caches the miss. The Durable Object may delete its copy before
 * that miss expires.
 */

quietAndFresh();

const IMAGES = "/v1/images";
/** Delays a generation, so that it can be looked up while it is in progress. */
const SLOW = "[upstream delay=500]";

function get(path: string): Promise<Response> {
  return fetchWorker(`${IMAGES}${path}`);
}

/** Starts a generation, looks up its image and its id while it is in progress, and waits for KV. */
async function lookedUpEarly(body: object): Promise<string> {
  const { id } = await (await post(body, { prefer: "respond-async" })).json<GenerationBody>();
  expect((await get(`/${id}/0.png`)).status).toBe(404);
  expect((await get(`/generations/${id}`)).status).toBe(202);
  await copied();
  return id;
}

/** Seconds: KV still caches the miss, the Durable Object has no copy, and one-hour caches have expired. */
const MOMENTS = [59, 601, 3601];

describe("a client that looked up a generation too early", () => {
  it.each(MOMENTS)("gets the image file %i seconds later", async (seconds) => {
    const id = await lookedUpEarly(newBody(SLOW));
    await passTime(seconds);
    const file = await get(`/${id}/0.png`);
    expect([file.status, file.headers.get("content-type")]).toEqual([200, "image/png"]);
  });

  it.each(MOMENTS)("gets the generation by its id %i seconds later", async (seconds) => {
    const id = await lookedUpEarly(newBody(SLOW));
    await passTime(seconds);
    const polled = await get(`/generations/${id}?response_format=b64_json`);
    expect(polled.status).toBe(200);
    expect((await polled.json<GenerationBody>()).data[0]?.b64_json).toMatch(/^iVBORw0KGgo/);
  });

  it.each(MOMENTS)("gets the same generation for its request %i seconds later", async (seconds) => {
    const body = newBody(SLOW);
    const id = await lookedUpEarly(body);
    await passTime(seconds);
    expect((await (await post(body)).json<GenerationBody>()).id).toBe(id);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});

describe("a generation that is copied to KV late", () => {
  it.each([0, 59, 61])(
    "is not generated again for a client whose location missed it %i seconds before",
    async (seconds) => {
      const body = newBody();
      setKvFault(OBJECTS, "put", "fails");
      const { id } = await (await post(body)).json<GenerationBody>();
      // Copying fails for longer than the Durable Object keeps a generation after it is copied.
      await passTime(11 * 60);
      expect((await (await post(body)).json<GenerationBody>()).id).toBe(id);
      setKvFault(OBJECTS, "put", undefined);
      await passTime(1);
      await copied();
      await passTime(seconds);
      expect((await (await post(body)).json<GenerationBody>()).id).toBe(id);
      expect(await upstreamCalls(body.prompt)).toBe(1);
    },
  );
});

describe("a prompt that the upstream's moderation blocked", () => {
  it.each([1, 59, 61])(
    "is not sent to the upstream again %i seconds later, although KV missed the block before",
    async (seconds) => {
      const body = newBody("[upstream status=400 code=moderation_blocked]");
      const blocked = [400, "moderation_blocked", null];
      expect(await errorOf(await post(body))).toEqual(blocked);
      await eventually(async () => {
        const { keys } = await bindings().CACHE.list({ prefix: "refusal/" });
        expect(keys).toHaveLength(1);
      });
      await passTime(seconds);
      expect(await errorOf(await post(body))).toEqual(blocked);
      expect(await upstreamCalls(body.prompt)).toBe(1);
    },
  );

  it("is sent to the upstream again with `no-cache`", async () => {
    const body = newBody("[upstream status=400 code=moderation_blocked]");
    await post(body);
    await post(body, { "cache-control": "no-cache" });
    expect(await upstreamCalls(body.prompt)).toBe(2);
  });
});

describe("a generation that is deleted as soon as it is cached", () => {
  it("leaves no key in KV and responds 404, although KV accepts one write a second for each key", async () => {
    const body = newBody(SLOW);
    const id = await lookedUpEarly(body);
    const init = { method: "DELETE", headers: ADMIN };
    const deleted = await fetchWorker(`${IMAGES}/generations/${id}`, environment(), init);
    expect(deleted.status).toBe(204);
    expect((await bindings().CACHE.list()).keys).toEqual([]);
    passKvTime(60);
    expect((await get(`/generations/${id}`)).status).toBe(404);
  });
});

describe("the cache of a location", () => {
  it("serves an image that it read 3500 seconds ago, after KV and the Durable Object deleted it", async () => {
    const body = newBody();
    await post(body);
    await copied();
    await passTime(601);
    const first = await (await post(body)).json<GenerationBody>();
    for (const { name } of (await bindings().CACHE.list({ prefix: "image/" })).keys) {
      await bindings().CACHE.delete(name);
    }
    await passTime(3500);
    expect((await (await post(body)).json<GenerationBody>()).id).toBe(first.id);
    setKvFault(CLIENTS, "getWithMetadata", "fails");
    const object = await sharedObject(body);
    const inObject = await runInDurableObject(object, (instance) => instance.made(4200));
    expect(inObject).toBeUndefined();
  });
});
