import { describe, expect, it, vi } from "vitest";
import { parseImageRequest } from "../../src/contract/request.ts";
import { requestKeys } from "../../src/generation/key.ts";
import { eventually } from "../support/eventually.ts";
import { passKvTime } from "../support/worker/edge-kv.ts";
import {
  ageCache,
  bindings,
  changeEnvironment,
  copied,
  deleteObjects,
  environment,
  failingKv,
  fetchWorker,
  keyOf,
  ORIGIN,
  post,
  sharedObject,
  testConfig,
  upstreamCalls,
} from "../support/worker/harness.ts";
import type { GenerationBody } from "../support/stage.ts";
import { newPrompt, SMALL_BASE64 as SMALL } from "../support/bodies.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";

const log = quietAndFresh({ expectsErrors: true });

async function postSmall(body: object, headers: Record<string, string> = {}, env = environment()) {
  const response = await post({ ...SMALL, ...body }, headers, env);
  const status = response.headers.get("cache-status");
  return { response, status, body: await response.json<GenerationBody>() };
}

/** Generates an image and deletes the Durable Objects, so that only KV has it. */
async function generated(body: object): Promise<GenerationBody> {
  const { body: generation } = await postSmall(body);
  await copied();
  await deleteObjects();
  return generation;
}

describe("a cache miss", () => {
  it("generates the images, stores them in KV and reports `fwd=miss; stored`", async () => {
    const prompt = newPrompt();
    const { response, status, body } = await postSmall({ prompt, n: 2 });
    expect(response.status).toBe(200);
    expect(status).toBe("darkroom; fwd=miss; stored");
    expect(response.headers.get("age")).toBeNull();
    expect(body.data).toHaveLength(2);
    expect(await upstreamCalls(prompt)).toBe(1);
    await copied();
    const { keys } = await bindings().CACHE.list();
    expect(keys.map((key) => key.name)).toEqual([
      `generation/${body.id}`,
      `image/${body.id}/0`,
      `image/${body.id}/1`,
      `request/${await keyOf({ ...SMALL, prompt, n: 2 })}`,
    ]);
  });

  it("stores raw image bytes, which expire at least an hour after the record that names them", async () => {
    const prompt = newPrompt();
    await changeEnvironment(await sharedObject({ ...SMALL, prompt }), { CACHE_TTL_SECONDS: "60" });
    const { body } = await postSmall({ prompt });
    await copied();
    const kv = bindings().CACHE;
    const { value, metadata } = await kv.getWithMetadata(`image/${body.id}/0`, "arrayBuffer");
    expect(new Uint8Array(value ?? new ArrayBuffer()).toBase64()).toBe(body.data[0]?.b64_json);
    expect(metadata).toEqual({ type: "png", sizeBytes: value?.byteLength });

    const { keys } = await kv.list();
    const expiry = (prefix: string) => keys.find((key) => key.name.startsWith(prefix))?.expiration;
    expect(Number(expiry("request/")) - body.created).toBeLessThanOrEqual(62);
    expect(Number(expiry("image/")) - Number(expiry("request/"))).toBeGreaterThanOrEqual(3599);
  });

  it("writes the records to KV after the images", async () => {
    const prompt = newPrompt();
    const put = vi.spyOn(bindings().CACHE, "put");
    await changeEnvironment(await sharedObject({ ...SMALL, prompt, n: 2 }), {});
    await postSmall({ prompt, n: 2 });
    await copied();
    const written = put.mock.calls.map(([key]) => key.split("/")[0]);
    expect(written).toEqual(["image", "image", "generation", "request"]);
  });
});

describe("a cache hit", () => {
  it.each([
    ["KV", () => deleteObjects()],
    [
      "the Durable Object, while KV may still cache the miss",
      () => bindings().CACHE.delete("none"),
    ],
  ])("returns the same generation from %s without calling the upstream", async (_, prepare) => {
    const prompt = newPrompt();
    const first = await postSmall({ prompt });
    await copied();
    await prepare();
    const hit = await postSmall({ prompt });
    expect(hit.body).toEqual(first.body);
    expect(hit.status).toMatch(/^darkroom; hit; ttl=25\d{5}$/);
    expect(Number(hit.response.headers.get("age"))).toBeLessThanOrEqual(2);
    expect(await upstreamCalls(prompt)).toBe(1);
  });

  it("has the response_format of its own request", async () => {
    const prompt = newPrompt();
    const { id, choices } = await generated({ prompt });
    const url = `${ORIGIN}/v1/images/${id}/0.png`;
    const byUrl = await postSmall({ prompt, response_format: "url" });
    expect(byUrl.status).toContain("hit");
    expect(byUrl.body.data).toEqual([{ url }]);
    expect(byUrl.body.choices[0]?.message.content).toBe(`![Image 1](${url})`);
    expect(byUrl.body.choices).toEqual(choices);
  });

  it("does not require an upstream API key", async () => {
    const prompt = newPrompt();
    await generated({ prompt });
    const hit = await postSmall({ prompt }, {}, environment({ UPSTREAM_API_KEY: undefined }));
    expect(hit.status).toContain("hit");
  });

  it("becomes a miss if an image is missing in KV", async () => {
    const prompt = newPrompt();
    const { id } = await generated({ prompt, n: 2 });
    await bindings().CACHE.delete(`image/${id}/1`);
    const repeated = await postSmall({ prompt, n: 2 });
    expect(repeated.status).toBe("darkroom; fwd=miss; stored");
    expect(repeated.body.id).not.toBe(id);
  });

  it.each([
    ["has another version", '{"version":99}'],
    ["is invalid JSON", "{"],
  ])("becomes a miss if its record %s", async (_, value) => {
    const prompt = newPrompt();
    await generated({ prompt });
    await bindings().CACHE.put(`request/${await keyOf({ ...SMALL, prompt })}`, value);
    const repeated = await postSmall({ prompt });
    expect(repeated.status).toBe("darkroom; fwd=miss; stored");
  });
});

describe("a cache hit for a retired model", () => {
  // Each request has an isolate of its own, whose counts are written after a second.
  const replacing = () => environment({ RETIRED_MODELS: "replace" });
  const RETIRED = { model: "gpt-image-1", size: "1024x1024", response_format: "b64_json" };

  /** Caches a generation of the retired model, and a record derived from it under its successor's key. */
  async function cachedBoth(prompt: string, successor: (record: object) => object) {
    const body = { ...RETIRED, prompt };
    const retired = await generated(body);
    const config = testConfig({ RETIRED_MODELS: "replace" });
    const { key, retiredKey } = await requestKeys(
      parseImageRequest(body, config, Date.now()).spec,
      config.upstream.baseUrl,
    );
    const kv = bindings().CACHE;
    const record = await kv.get<Record<string, unknown>>(`request/${retiredKey}`, "json");
    expect(record?.["id"]).toBe(retired.id);
    await kv.put(`request/${key}`, JSON.stringify(successor(record ?? {})));
    return { body, id: retired.id };
  }

  it("uses the retired model's record if the successor's images are missing", async () => {
    const { body, id } = await cachedBoth(newPrompt(), (record) => ({
      ...record,
      id: "gen_without-images",
    }));
    const hit = await postSmall(body, {}, replacing());
    expect([hit.status?.includes("hit"), hit.body.id]).toEqual([true, id]);
  });

  it("uses the retired model's record if the successor's is older than `max-age`", async () => {
    const { body, id } = await cachedBoth(newPrompt(), (record) => ({
      ...record,
      id: "gen_too-old",
      created: Math.floor(Date.now() / 1000) - 1000,
    }));
    const byUrl = { ...body, response_format: "url" };
    const hit = await postSmall(byUrl, { "cache-control": "max-age=500" }, replacing());
    expect([hit.status?.includes("hit"), hit.body.id]).toEqual([true, id]);
    const any = await postSmall(byUrl, {}, replacing());
    expect(any.body.id).toBe("gen_too-old");
  });
});

describe("a cached generation", () => {
  const shortLived = environment({ CACHE_TTL_SECONDS: "60" });

  it.each([
    [50, /^darkroom; hit; ttl=(?:10|9|8)$/],
    [60, /^darkroom; fwd=request; stored$/],
  ])(
    "expires after 60 seconds: after %i seconds the Cache-Status is %s",
    async (seconds, status) => {
      const prompt = newPrompt();
      await generated({ prompt });
      await ageCache(seconds);
      expect((await postSmall({ prompt }, {}, shortLived)).status).toMatch(status);
    },
  );
});

describe("a request with cache directives", () => {
  it("neither reads nor writes the cache with `no-store`", async () => {
    const prompt = newPrompt();
    const first = await postSmall({ prompt }, { "cache-control": "no-store" });
    expect(first.status).toBe("darkroom; fwd=request");

    const stored = await postSmall({ prompt });
    await copied();
    const second = await postSmall({ prompt }, { "cache-control": "no-store" });
    expect(second.body.id).not.toBe(stored.body.id);
    expect(await upstreamCalls(prompt)).toBe(3);
    const { keys } = await bindings().CACHE.list({ prefix: "generation/" });
    expect(keys.map((key) => key.name)).toEqual([`generation/${stored.body.id}`]);
  });

  it("gets a `no-store` image by a URL that only the Durable Object serves, uncacheable", async () => {
    const { body } = await postSmall(
      { prompt: newPrompt(), response_format: "url" },
      { "cache-control": "no-store" },
    );
    const file = await fetchWorker(String(body.data[0]?.url));
    expect(file.status).toBe(200);
    expect(file.headers.get("cache-control")).toBe("private, no-store");
    await deleteObjects();
    const gone = await fetchWorker(String(body.data[0]?.url));
    expect(gone.status).toBe(404);
  });

  it("regenerates with `no-cache` and stores the new generation", async () => {
    const prompt = newPrompt();
    const old = await generated({ prompt });
    const regenerated = await postSmall({ prompt }, { "cache-control": "no-cache" });
    expect(regenerated.status).toBe("darkroom; fwd=request; stored");
    expect(regenerated.body.id).not.toBe(old.id);
    await copied(2);
    // For a minute KV returns the old generation in each location that has read it.
    passKvTime(60);
    expect((await postSmall({ prompt })).body.id).toBe(regenerated.body.id);
  });

  it("accepts a cached generation within `max-age`, from KV or the Durable Object", async () => {
    const prompt = newPrompt();
    const { id } = await generated({ prompt });
    await ageCache(10);
    const young = await postSmall({ prompt }, { "cache-control": "max-age=20" });
    expect(Number(young.response.headers.get("age"))).toBeGreaterThanOrEqual(10);
    expect(young.body.id).toBe(id);
    const regenerated = await postSmall({ prompt }, { "cache-control": "max-age=9" });
    expect(regenerated.status).toBe("darkroom; fwd=request; stored");
    expect(regenerated.body.id).not.toBe(id);
    const repeated = await postSmall({ prompt }, { "cache-control": "max-age=9" });
    expect(repeated.body.id).toBe(regenerated.body.id);
  });

  it("never calls the upstream with `only-if-cached`, and gets 504 on a miss", async () => {
    const prompt = newPrompt();
    const lookup = () => post({ ...SMALL, prompt }, { "cache-control": "only-if-cached" });
    const missing = await lookup();
    expect(missing.status).toBe(504);
    expect(await missing.json()).toMatchObject({ error: { code: "not_cached" } });
    expect(await upstreamCalls(prompt)).toBe(0);

    await postSmall({ prompt });
    // The Durable Object responds, because KV's edges may cache the miss above for a minute.
    expect((await lookup()).headers.get("cache-status")).toContain("hit");
    await copied();
    await deleteObjects();
    expect((await lookup()).headers.get("cache-status")).toContain("hit");
    expect(await upstreamCalls(prompt)).toBe(1);
  });

  it.each(["only-if-cached, no-cache", "only-if-cached, no-store", "only-if-cached, max-age=4"])(
    "gets 504 with `%s`, without an upstream call",
    async (directives) => {
      const prompt = newPrompt();
      await generated({ prompt });
      await ageCache(5);
      const response = await post({ ...SMALL, prompt }, { "cache-control": directives });
      expect(response.status).toBe(504);
      expect(await upstreamCalls(prompt)).toBe(1);
    },
  );
});

describe("a failing KV", () => {
  it.each(["get", "getWithMetadata"] as const)(
    "reports a miss and logs `cache_read_failed` if %s fails",
    async (method) => {
      const prompt = newPrompt();
      await generated({ prompt });
      const env = environment({ CACHE: failingKv(method) });
      const { response, status } = await postSmall({ prompt }, {}, env);
      expect(response.status).toBe(200);
      expect(status).toBe("darkroom; fwd=miss; stored");
      expect(log.errors.join()).toContain('"event":"cache_read_failed"');
      expect(log.all().join()).not.toContain("KV is down");
    },
  );

  it("still serves the image if a write fails, logs it and retries without the upstream", async () => {
    const prompt = newPrompt();
    const object = await sharedObject({ ...SMALL, prompt });
    await changeEnvironment(object, { CACHE: failingKv("put") });
    const { response, body } = await postSmall({ prompt, response_format: "url" });
    expect(response.status).toBe(200);
    const file = await fetchWorker(String(body.data[0]?.url));
    expect(file.status).toBe(200);
    await eventually(() => expect(log.errors.join()).toContain('"event":"cache_write_failed"'));

    await changeEnvironment(object, {});
    await copied();
    expect(await upstreamCalls(prompt)).toBe(1);
  });
});

describe("a misconfigured gateway", () => {
  it("responds with the name of the missing secret and the command that sets it", async () => {
    const prompt = newPrompt();
    const object = await sharedObject({ ...SMALL, prompt });
    await changeEnvironment(object, { UPSTREAM_API_KEY: undefined });
    const response = await post({ ...SMALL, prompt });
    expect(response.status).toBe(500);
    const { error } = await response.json<{ error: { message: string; code: string } }>();
    expect(error.code).toBe("misconfigured");
    expect(error.message).toContain("UPSTREAM_API_KEY is not set");
    expect(error.message).toContain("wrangler secret put UPSTREAM_API_KEY");
  });

  it("names an invalid variable without its value, to a page of any origin", async () => {
    const env = environment({ PROMPT_MAX_CHARS: "secret-value" });
    const response = await fetchWorker("/health", env);
    expect(response.status).toBe(500);
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    const text = await response.text();
    expect(text).toContain("PROMPT_MAX_CHARS must be a whole number");
    expect(text).not.toContain("secret-value");
  });
});

describe("an internal error", () => {
  it("responds 500 without details, and logs the type of the error", async () => {
    const env = environment({ GENERATION: { idFromName: "not a function" } });
    const response = await post({ ...SMALL, prompt: newPrompt() }, {}, env);
    expect(response.status).toBe(500);
    const { error } = await response.json<{ error: { message: string; code: string } }>();
    expect(error.code).toBe("internal_error");
    expect(JSON.stringify(error)).not.toContain("function");
    expect(response.headers.get("x-request-id")).toMatch(/^req_/);
    const line = log.errors.find((entry) => entry.includes('"event":"internal_error"'));
    expect(JSON.parse(String(line))).toMatchObject({ level: "error", error: "TypeError" });
  });
});

describe("the log", () => {
  it("has one line for each request and one for each generation, without the prompt", async () => {
    const prompt = newPrompt("a secret wish");
    const { body } = await postSmall({ prompt });
    await copied();
    const lines = log.all().map((line): unknown => JSON.parse(line));
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatchObject({ event: "generation", id: body.id, model: "dall-e-2", n: 1 });
    expect(lines[1]).toMatchObject({
      event: "request",
      method: "POST",
      status: 200,
      cache: "miss",
      generation: body.id,
      model: "dall-e-2",
      size: "256x256",
      n: 1,
    });
    expect(log.all().join()).not.toContain("secret wish");
  });
});
