import { reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { parseImageRequest } from "../../src/contract/request.ts";
import { requestKeys } from "../../src/generation/key.ts";
import { eventually } from "../support/eventually.ts";
import { passKvTime } from "../support/worker/edge-kv.ts";
import {
  ageCache,
  callWorker,
  bindings,
  changeEnvironment,
  copied,
  environment,
  failingKv,
  deleteObjects,
  generationRequest,
  keyOf,
  sharedObject,
  testConfig,
  upstreamCalls,
} from "../support/worker/harness.ts";
import type { GenerationBody } from "../support/stage.ts";
import { newPrompt, SMALL_BASE64 as SMALL } from "../support/bodies.ts";

const logged: string[] = [];

beforeEach(() => {
  vi.spyOn(console, "log").mockImplementation((line: string) => void logged.push(line));
  vi.spyOn(console, "error").mockImplementation((line: string) => void logged.push(line));
});

afterEach(async () => {
  vi.restoreAllMocks();
  logged.length = 0;
  await reset();
});

async function post(body: object, headers: Record<string, string> = {}, env = environment()) {
  const response = await callWorker(generationRequest({ ...SMALL, ...body }, headers), env);
  const status = response.headers.get("cache-status");
  return { response, status, body: await response.json<GenerationBody>() };
}

/** Makes a picture, and leaves it to KV alone. */
async function made(body: object): Promise<GenerationBody> {
  const { body: answered } = await post(body);
  await copied();
  await deleteObjects();
  return answered;
}

describe("a miss", () => {
  it("is made, kept, and says so", async () => {
    const prompt = newPrompt();
    const { response, status, body } = await post({ prompt, n: 2 });
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

  it("keeps raw bytes, and lets images outlive the record that names them", async () => {
    const prompt = newPrompt();
    await changeEnvironment(await sharedObject({ ...SMALL, prompt }), { CACHE_TTL_SECONDS: "60" });
    const { body } = await post({ prompt });
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

  it("writes the record after its images", async () => {
    const prompt = newPrompt();
    const put = vi.spyOn(bindings().CACHE, "put");
    await changeEnvironment(await sharedObject({ ...SMALL, prompt, n: 2 }), {});
    await post({ prompt, n: 2 });
    await copied();
    const written = put.mock.calls.map(([key]) => key.split("/")[0]);
    expect(written).toEqual(["image", "image", "generation", "request"]);
  });
});

describe("a hit", () => {
  it.each([
    ["in KV", () => deleteObjects()],
    ["in its object, because KV's edge may still deny it", () => bindings().CACHE.delete("none")],
  ])("%s is the same generation, for nothing", async (_, prepare) => {
    const prompt = newPrompt();
    const first = await post({ prompt });
    await copied();
    await prepare();
    const hit = await post({ prompt });
    expect(hit.body).toEqual(first.body);
    expect(hit.status).toMatch(/^darkroom; hit; ttl=25\d{5}$/);
    expect(Number(hit.response.headers.get("age"))).toBeLessThanOrEqual(2);
    expect(await upstreamCalls(prompt)).toBe(1);
  });

  it("comes in the form that this caller asks for", async () => {
    const prompt = newPrompt();
    const { id, choices } = await made({ prompt });
    const url = `https://gateway.example/v1/images/${id}/0.png`;
    const byUrl = await post({ prompt, response_format: "url" });
    expect(byUrl.status).toContain("hit");
    expect(byUrl.body.data).toEqual([{ url }]);
    expect(byUrl.body.choices[0]?.message.content).toBe(`![Image 1](${url})`);
    expect(byUrl.body.choices).toEqual(choices);
  });

  it("needs no upstream key", async () => {
    const prompt = newPrompt();
    await made({ prompt });
    const hit = await post({ prompt }, {}, environment({ UPSTREAM_API_KEY: undefined }));
    expect(hit.status).toContain("hit");
  });

  it("is none where an image is gone", async () => {
    const prompt = newPrompt();
    const { id } = await made({ prompt, n: 2 });
    await bindings().CACHE.delete(`image/${id}/1`);
    const again = await post({ prompt, n: 2 });
    expect(again.status).toBe("darkroom; fwd=miss; stored");
    expect(again.body.id).not.toBe(id);
  });

  it.each([
    ["of another version", '{"version":99}'],
    ["that is broken", "{"],
  ])("is none for a record %s", async (_, value) => {
    const prompt = newPrompt();
    await made({ prompt });
    await bindings().CACHE.put(`request/${await keyOf({ ...SMALL, prompt })}`, value);
    const again = await post({ prompt });
    expect(again.status).toBe("darkroom; fwd=miss; stored");
  });
});

describe("a hit for a retired model", () => {
  const replacing = environment({ RETIRED_MODELS: "replace" });
  const RETIRED = { model: "gpt-image-1", size: "1024x1024", response_format: "b64_json" };

  /** Caches an image of the retired model, and a record of its successor that is made from it. */
  async function cachedBoth(prompt: string, successor: (record: object) => object) {
    const body = { ...RETIRED, prompt };
    const retired = await made(body);
    const config = testConfig({ RETIRED_MODELS: "replace" });
    const { key, retiredKey } = await requestKeys(
      parseImageRequest(body, config, Date.now()),
      config.upstream.baseUrl,
    );
    const kv = bindings().CACHE;
    const record = await kv.get<Record<string, unknown>>(`request/${retiredKey}`, "json");
    expect(record?.["id"]).toBe(retired.id);
    await kv.put(`request/${key}`, JSON.stringify(successor(record ?? {})));
    return { body, id: retired.id };
  }

  it("comes from the retired model's record where the successor's images are gone", async () => {
    const { body, id } = await cachedBoth(newPrompt(), (record) => ({
      ...record,
      id: "gen_without-images",
    }));
    const hit = await post(body, {}, replacing);
    expect([hit.status?.includes("hit"), hit.body.id]).toEqual([true, id]);
  });

  it("comes from the retired model's record where the successor's is too old", async () => {
    const { body, id } = await cachedBoth(newPrompt(), (record) => ({
      ...record,
      id: "gen_too-old",
      created: Math.floor(Date.now() / 1000) - 1000,
    }));
    const byUrl = { ...body, response_format: "url" };
    const hit = await post(byUrl, { "cache-control": "max-age=500" }, replacing);
    expect([hit.status?.includes("hit"), hit.body.id]).toEqual([true, id]);
    const any = await post(byUrl, {}, replacing);
    expect(any.body.id).toBe("gen_too-old");
  });
});

describe("expiry", () => {
  const shortLived = environment({ CACHE_TTL_SECONDS: "60" });

  it.each([
    [50, /^darkroom; hit; ttl=(?:10|9|8)$/],
    [60, /^darkroom; fwd=request; stored$/],
  ])("after %i of 60 seconds it is %s", async (seconds, status) => {
    const prompt = newPrompt();
    await made({ prompt });
    await ageCache(seconds);
    expect((await post({ prompt }, {}, shortLived)).status).toMatch(status);
  });
});

describe("request directives", () => {
  it("no-store neither reads nor keeps", async () => {
    const prompt = newPrompt();
    const first = await post({ prompt }, { "cache-control": "no-store" });
    expect(first.status).toBe("darkroom; fwd=request");

    const kept = await post({ prompt });
    await copied();
    const second = await post({ prompt }, { "cache-control": "no-store" });
    expect(second.body.id).not.toBe(kept.body.id);
    expect(await upstreamCalls(prompt)).toBe(3);
    const { keys } = await bindings().CACHE.list({ prefix: "generation/" });
    expect(keys.map((key) => key.name)).toEqual([`generation/${kept.body.id}`]);
  });

  it("no-store by URL gives an address that its object answers, and nobody else may keep", async () => {
    const { body } = await post(
      { prompt: newPrompt(), response_format: "url" },
      { "cache-control": "no-store" },
    );
    const file = await callWorker(new Request(String(body.data[0]?.url)), environment());
    expect(file.status).toBe(200);
    expect(file.headers.get("cache-control")).toBe("private, no-store");
    await deleteObjects();
    const gone = await callWorker(new Request(String(body.data[0]?.url)), environment());
    expect(gone.status).toBe(404);
  });

  it("no-cache makes it anew and keeps that", async () => {
    const prompt = newPrompt();
    const old = await made({ prompt });
    const anew = await post({ prompt }, { "cache-control": "no-cache" });
    expect(anew.status).toBe("darkroom; fwd=request; stored");
    expect(anew.body.id).not.toBe(old.id);
    await copied(2);
    // For a minute KV returns the old one wherever that was read.
    passKvTime(60);
    expect((await post({ prompt })).body.id).toBe(anew.body.id);
  });

  it("max-age takes what is young enough, in KV or in the object", async () => {
    const prompt = newPrompt();
    const { id } = await made({ prompt });
    await ageCache(10);
    const young = await post({ prompt }, { "cache-control": "max-age=20" });
    expect(Number(young.response.headers.get("age"))).toBeGreaterThanOrEqual(10);
    expect(young.body.id).toBe(id);
    const old = await post({ prompt }, { "cache-control": "max-age=9" });
    expect(old.status).toBe("darkroom; fwd=request; stored");
    expect(old.body.id).not.toBe(id);
    const again = await post({ prompt }, { "cache-control": "max-age=9" });
    expect(again.body.id).toBe(old.body.id);
  });

  it("only-if-cached never spends", async () => {
    const prompt = newPrompt();
    const asked = () =>
      callWorker(
        generationRequest({ ...SMALL, prompt }, { "cache-control": "only-if-cached" }),
        environment(),
      );
    const missing = await asked();
    expect(missing.status).toBe(504);
    expect(await missing.json()).toMatchObject({ error: { code: "not_cached" } });
    expect(await upstreamCalls(prompt)).toBe(0);

    await post({ prompt });
    // From the object: KV's edges may deny for a minute what they have just been asked for.
    expect((await asked()).headers.get("cache-status")).toContain("hit");
    await copied();
    await deleteObjects();
    expect((await asked()).headers.get("cache-status")).toContain("hit");
    expect(await upstreamCalls(prompt)).toBe(1);
  });

  it.each(["only-if-cached, no-cache", "only-if-cached, no-store", "only-if-cached, max-age=4"])(
    "%s never spends either",
    async (directives) => {
      const prompt = newPrompt();
      await made({ prompt });
      await ageCache(5);
      const response = await callWorker(
        generationRequest({ ...SMALL, prompt }, { "cache-control": directives }),
        environment(),
      );
      expect(response.status).toBe(504);
      expect(await upstreamCalls(prompt)).toBe(1);
    },
  );
});

describe("a KV that fails", () => {
  it.each(["get", "getWithMetadata"] as const)("in %s is a miss, and is logged", async (method) => {
    const prompt = newPrompt();
    await made({ prompt });
    const env = environment({ CACHE: failingKv(method) });
    const { response, status } = await post({ prompt }, {}, env);
    expect(response.status).toBe(200);
    expect(status).toBe("darkroom; fwd=miss; stored");
    expect(logged.join()).toContain('"event":"cache_read_failed"');
    expect(logged.join()).not.toContain("KV is down");
  });

  it("on write costs no picture, is logged, and is tried again without the upstream", async () => {
    const prompt = newPrompt();
    const object = await sharedObject({ ...SMALL, prompt });
    await changeEnvironment(object, { CACHE: failingKv("put") });
    const { response, body } = await post({ prompt, response_format: "url" });
    expect(response.status).toBe(200);
    const file = await callWorker(new Request(String(body.data[0]?.url)), environment());
    expect(file.status).toBe(200);
    await eventually(() => expect(logged.join()).toContain('"event":"cache_write_failed"'));

    await changeEnvironment(object, {});
    await copied();
    expect(await upstreamCalls(prompt)).toBe(1);
  });
});

describe("a gateway that is not configured", () => {
  it("says which secret is missing, and how to set it", async () => {
    const prompt = newPrompt();
    const object = await sharedObject({ ...SMALL, prompt });
    await changeEnvironment(object, { UPSTREAM_API_KEY: undefined });
    const response = await callWorker(generationRequest({ ...SMALL, prompt }), environment());
    expect(response.status).toBe(500);
    const { error } = await response.json<{ error: { message: string; code: string } }>();
    expect(error.code).toBe("misconfigured");
    expect(error.message).toContain("UPSTREAM_API_KEY is not set");
    expect(error.message).toContain("wrangler secret put UPSTREAM_API_KEY");
  });

  it("says so to a page of any origin as well", async () => {
    const env = environment({ PROMPT_MAX_CHARS: "secret-value" });
    const response = await callWorker(new Request("https://gateway.example/health"), env);
    expect(response.status).toBe(500);
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    const text = await response.text();
    expect(text).toContain("PROMPT_MAX_CHARS must be a whole number");
    expect(text).not.toContain("secret-value");
  });
});

describe("our own fault", () => {
  it("is a 500 that says nothing of itself, and a log line that says where", async () => {
    const env = environment({ GENERATION: { idFromName: "not a function" } });
    const response = await callWorker(generationRequest({ ...SMALL, prompt: newPrompt() }), env);
    expect(response.status).toBe(500);
    const { error } = await response.json<{ error: { message: string; code: string } }>();
    expect(error.code).toBe("internal_error");
    expect(JSON.stringify(error)).not.toContain("function");
    expect(response.headers.get("x-request-id")).toMatch(/^req_/);
    const line = logged.find((entry) => entry.includes('"event":"internal_error"'));
    expect(JSON.parse(String(line))).toMatchObject({ level: "error", error: "TypeError" });
  });
});

describe("the log", () => {
  it("has one line for a request and one for a generation, without the prompt", async () => {
    const prompt = newPrompt("a secret wish");
    const { body } = await post({ prompt });
    await copied();
    const lines = logged.map((line): unknown => JSON.parse(line));
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
    expect(logged.join()).not.toContain("secret wish");
  });
});
