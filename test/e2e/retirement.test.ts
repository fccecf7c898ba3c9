import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { openAiAt } from "../support/openai.ts";
import { ADMIN_KEY } from "../support/gateway.ts";
import { eventIn, hookAt } from "../support/webhooks/hook.ts";
import { startReceiver, type Receiver } from "../support/webhooks/receiver.ts";
import { EXAMPLE_BODY, EXAMPLE_HEADERS } from "../support/reference-document.ts";
import { read, startStage, type GenerationBody, type ErrorBody } from "../support/stage.ts";
import { newPrompt } from "../support/bodies.ts";

const NOVEMBER_30 = "2026-11-30T12:00:00Z";
const BEFORE_MIDNIGHT = "2026-11-30T23:59:30Z";
const MIDNIGHT = "2026-12-01T00:00:00Z";
const DECEMBER_2 = "2026-12-02T12:00:00Z";

const SUNBURST = "gpt-image-2.6-sunburst";
const FLARE = "gpt-image-2.6-flare";

/** `auto` would not replace models, because the simulator's URL is not OpenAI's. */
const stage = startStage({ RETIRED_MODELS: "replace" }, { at: NOVEMBER_30 });

let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
});
afterAll(() => receiver.close());
beforeEach(() => stage.setClock(NOVEMBER_30));

/** Returns the models that the upstream received with a prompt, in order. */
function sentModels(prompt: string): unknown[] {
  return stage.upstream.received(prompt).map(({ body }) => body["model"]);
}

function post(body: object, headers: Record<string, string> = {}) {
  return stage.post({ size: "1024x1024", response_format: "url", ...body }, headers);
}

async function generated(
  body: object,
  headers: Record<string, string> = {},
): Promise<GenerationBody> {
  const response = await post(body, headers);
  expect(response.status).toBe(200);
  return read(response);
}

/** Waits until a generation is stored in KV. */
async function cached({ id }: GenerationBody): Promise<void> {
  await eventually(async () => {
    const { keys } = await stage.gateway.cache.list({ prefix: "request/" });
    const records = await Promise.all(
      keys.map(({ name }) => stage.gateway.cache.get(name, "text")),
    );
    expect(records.some((record) => record?.includes(id))).toBe(true);
  });
}

/**
 * Generates an image and deletes it from KV. This simulates KV's negative cache, which reports a miss
 * for up to one minute after a lookup without a result.
 */
async function generatedUnseenByKv(body: object): Promise<GenerationBody> {
  const generation = await generated(body);
  await cached(generation);
  const { keys } = await stage.gateway.cache.list({ prefix: "request/" });
  await Promise.all(keys.map(({ name }) => stage.gateway.cache.delete(name)));
  return generation;
}

async function getJson<Body>(path: string, headers: Record<string, string> = {}): Promise<Body> {
  return read<Body>(await fetch(`${stage.gateway.url}${path}`, { headers }));
}

describe("the upstream on 2 December", () => {
  it("rejects a retired model, as OpenAI does", async () => {
    await stage.setClock(DECEMBER_2);
    const response = await fetch(`${stage.upstream.baseUrl}/images/generations`, {
      method: "POST",
      headers: { authorization: "Bearer sk-any" },
      body: EXAMPLE_BODY,
    });
    expect(response.status).toBe(404);
    expect((await read<ErrorBody>(response)).error.code).toBe("model_not_found");
  });
});

describe("the reference document's own example", () => {
  it("generates an image on 2 December with the successor", async () => {
    await stage.setClock(DECEMBER_2);
    const response = await fetch(`${stage.gateway.url}/v1/images/generations`, {
      method: "POST",
      headers: EXAMPLE_HEADERS,
      body: EXAMPLE_BODY,
    });
    expect(response.status).toBe(200);
    const { model, data } = await read(response);
    expect(model).toBe(SUNBURST);
    expect(data[0]?.b64_json).toMatch(/^iVBOR/);
    expect(sentModels("a man walks").at(-1)).toBe(SUNBURST);
  });

  it("works for the SDK without a model and as a stream", async () => {
    await stage.setClock(DECEMBER_2);
    const client = openAiAt(stage);
    const prompt = newPrompt();
    const { data } = await client.images.generate({ prompt, size: "1024x1024" });
    expect(data?.[0]?.b64_json).toMatch(/^iVBOR/);
    const streamed = newPrompt();
    const events: string[] = [];
    const stream = await client.images.generate({
      prompt: streamed,
      model: "gpt-image-1-mini",
      size: "1024x1024",
      stream: true,
      partial_images: 1,
    });
    for await (const event of stream) events.push(event.type);
    expect(events).toEqual(["image_generation.partial_image", "image_generation.completed"]);
    expect([...sentModels(prompt), ...sentModels(streamed)]).toEqual([SUNBURST, FLARE]);
  });
});

describe("the gateway after midnight UTC of the shutdown day", () => {
  it.each([
    ["gpt-image-1.5", SUNBURST],
    ["gpt-image-1.5-2025-12-16", SUNBURST],
    ["chatgpt-image-latest", SUNBURST],
    ["gpt-image-1-mini", FLARE],
  ])("replaces %s with %s", async (model, successor) => {
    const [before, after] = [newPrompt(), newPrompt()];
    await stage.setClock(BEFORE_MIDNIGHT);
    expect((await generated({ prompt: before, model })).model).toBe(model);
    await stage.setClock(MIDNIGHT);
    expect((await generated({ prompt: after, model })).model).toBe(successor);
    expect([...sentModels(before), ...sentModels(after)]).toEqual([model, successor]);
  });

  it("returns a cached image without calling the upstream, with the model that generated it", async () => {
    const body = { prompt: newPrompt(), model: "gpt-image-1.5" };
    const before = await generated(body);
    await cached(before);
    await stage.setClock(DECEMBER_2);
    const response = await post(body);
    expect(response.headers.get("cache-status")).toContain("hit");
    expect(await read(response)).toMatchObject({ id: before.id, model: "gpt-image-1.5" });
    const onlyCached = await post(body, { "cache-control": "only-if-cached" });
    expect((await read(onlyCached)).id).toBe(before.id);
    expect(sentModels(body.prompt)).toEqual(["gpt-image-1.5"]);
  });

  it("returns an image from the Durable Object if it completed just before and KV misses it", async () => {
    await stage.setClock(BEFORE_MIDNIGHT);
    const body = { prompt: newPrompt() };
    const before = await generatedUnseenByKv(body);
    await stage.setClock(MIDNIGHT);
    for (const headers of [{}, { "cache-control": "only-if-cached" }]) {
      expect((await generated(body, headers)).id).toBe(before.id);
    }
    await stage.setClock("2026-12-01T00:59:00Z");
    expect((await generated(body)).id).toBe(before.id);
    expect(sentModels(body.prompt)).toEqual(["gpt-image-1.5"]);
    const fresh = await generated(body, { "cache-control": "no-cache" });
    expect(fresh.model).toBe(SUNBURST);
  });

  it("checks the retired model's Durable Object for one hour, then only for only-if-cached", async () => {
    await stage.setClock(BEFORE_MIDNIGHT);
    const body = { prompt: newPrompt() };
    const before = await generatedUnseenByKv(body);
    await stage.setClock("2026-12-01T01:00:01Z");
    const onlyCached = await generated(body, { "cache-control": "only-if-cached" });
    expect(onlyCached.id).toBe(before.id);
    expect((await generated(body)).model).toBe(SUNBURST);
  });

  it("joins a generation in progress without a second upstream call", async () => {
    await stage.setClock(BEFORE_MIDNIGHT);
    const body = { prompt: newPrompt("[upstream delay=4000]") };
    const first = generated(body);
    await eventually(() => expect(sentModels(body.prompt)).toHaveLength(1));
    await stage.setClock(MIDNIGHT);
    const joined = await post(body);
    expect(joined.headers.get("cache-status")).toContain("collapsed");
    expect((await read(joined)).id).toBe((await first).id);
    expect(sentModels(body.prompt)).toEqual(["gpt-image-1.5"]);
  });

  it("replaces the cached image with one of the successor on no-cache", async () => {
    const body = { prompt: newPrompt() };
    const before = await generated(body);
    await cached(before);
    await stage.setClock(DECEMBER_2);
    const after = await generated(body, { "cache-control": "no-cache" });
    await cached(after);
    expect([before.model, after.model]).toEqual(["gpt-image-1.5", SUNBURST]);
    expect((await generated(body)).id).toBe(after.id);
  });

  it("generates once for a retired model and its successor", async () => {
    await stage.setClock(DECEMBER_2);
    const prompt = newPrompt();
    const [old, next] = await Promise.all([
      generated({ prompt, model: "gpt-image-1.5" }),
      generated({ prompt, model: SUNBURST }),
    ]);
    expect(old.id).toBe(next.id);
    expect(sentModels(prompt)).toEqual([SUNBURST]);
  });
});

describe("an Idempotency-Key of 30 November", () => {
  it("returns the same generation on 1 December without a second upstream call", async () => {
    const key = { "idempotency-key": crypto.randomUUID(), "cache-control": "no-cache" };
    const body = { prompt: newPrompt() };
    await stage.setClock(BEFORE_MIDNIGHT);
    const first = await generated(body, key);
    await stage.setClock(MIDNIGHT);
    expect((await generated(body, key)).id).toBe(first.id);
    expect(sentModels(body.prompt)).toEqual(["gpt-image-1.5"]);
    const other = await post({ ...body, model: SUNBURST }, key);
    expect(other.status).toBe(422);
  });

  it("retries a failure that cost nothing with the successor", async () => {
    const key = { "idempotency-key": crypto.randomUUID() };
    const body = { prompt: newPrompt("[upstream status=500 times=3]") };
    await stage.setClock(BEFORE_MIDNIGHT);
    expect((await post(body, key)).status).toBe(502);
    await stage.setClock(MIDNIGHT);
    expect((await generated(body, key)).model).toBe(SUNBURST);
    expect(new Set(sentModels(body.prompt).slice(0, 3))).toEqual(new Set(["gpt-image-1.5"]));
    expect(sentModels(body.prompt).slice(3)).toEqual([SUNBURST]);
  });
});

describe("a job", () => {
  it("runs once, with the successor, if it waits past midnight", async () => {
    await stage.setClock(BEFORE_MIDNIGHT);
    const hook = hookAt(receiver.origin);
    // The first attempt fails with the third 429. The job then waits a few seconds.
    const body = { prompt: newPrompt("[upstream status=429 retry-after=0 times=3]") };
    const submitted = await post(
      { ...body, webhook_url: hook.url },
      { prefer: "respond-async", "idempotency-key": body.prompt },
    );
    expect(submitted.status).toBe(202);
    const { id } = await read<{ id: string }>(submitted);
    await eventually(() => expect(sentModels(body.prompt)).toHaveLength(3));
    await stage.setClock(DECEMBER_2);
    // An image that the successor generates before the job's next attempt is a hit for the job.
    const cachedBefore = await generated({ ...body, model: SUNBURST });
    const event = await eventually(async () => {
      const [first] = await hook.received();
      return first === undefined ? expect.fail("no delivery arrived") : eventIn(first);
    });
    expect(event).toMatchObject({
      type: "image.generation.completed",
      data: { job: id, id: cachedBefore.id, model: SUNBURST },
    });
    expect(sentModels(body.prompt)).toEqual([...Array(3).fill("gpt-image-1.5"), SUNBURST]);
    // A repeated submission returns the same job.
    const repeated = await post(
      { ...body, webhook_url: hook.url },
      { prefer: "respond-async", "idempotency-key": body.prompt },
    );
    expect((await read<{ id: string }>(repeated)).id).toBe(id);
  }, 40_000);
});

describe("a batch of retired models and their successors", () => {
  it("keeps its Idempotency-Key past the shutdown, and completes with the successors after it", async () => {
    const prompt = newPrompt();
    const models = ["gpt-image-1.5", "gpt-image-1-mini", SUNBURST];
    const requests = models.map((model) => ({
      custom_id: model,
      body: { prompt, model, size: "1024x1024" },
    }));
    const submit = (key: string) =>
      fetch(`${stage.gateway.url}/v1/images/batches`, {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": key },
        body: JSON.stringify({ requests }),
      });
    interface Batch {
      id: string;
      status: string;
      results: { status: string; response?: GenerationBody }[];
    }
    const [november, december] = [crypto.randomUUID(), crypto.randomUUID()];
    const before = await read<Batch>(await submit(november));
    await eventually(async () => {
      const { status } = await getJson<Batch>(`/v1/images/batches/${before.id}`);
      expect(status).toBe("completed");
    });
    await stage.setClock(DECEMBER_2);
    expect((await read<Batch>(await submit(november))).id).toBe(before.id);

    await stage.setClock(DECEMBER_2);
    const changed = newPrompt();
    for (const { body } of requests) body.prompt = changed;
    const { id } = await read<Batch>(await submit(december));
    const completed = await eventually(async () => {
      const batch = await getJson<Batch>(`/v1/images/batches/${id}`);
      expect(batch.status).toBe("completed");
      return batch;
    });
    expect(completed.results.map(({ response }) => response?.model)).toEqual([
      SUNBURST,
      FLARE,
      SUNBURST,
    ]);
    expect(new Set(sentModels(changed))).toEqual(new Set([FLARE, SUNBURST]));
    expect(sentModels(changed)).toHaveLength(2);
  }, 40_000);
});

describe("a retirement", () => {
  interface Model {
    id: string;
    shutdown_date: string | null;
    replaced_by: string | null;
    price: object;
  }

  it("appears in GET /v1/models with its day, the successor and the current price", async () => {
    const before = await getJson<Model>("/v1/models/gpt-image-1.5");
    await stage.setClock(DECEMBER_2);
    const after = await getJson<Model>("/v1/models/gpt-image-1.5");
    const successor = await getJson<Model>(`/v1/models/${SUNBURST}`);
    const announced = { shutdown_date: "2026-12-01", replaced_by: SUNBURST };
    expect([before, after]).toMatchObject([announced, announced]);
    expect(before.price).not.toEqual(successor.price);
    expect(after.price).toEqual(successor.price);
    expect(successor).toMatchObject({ shutdown_date: null, replaced_by: null });
  });

  it("appears in the log and the usage under the model that generated the image", async () => {
    await stage.setClock(DECEMBER_2);
    const { id, usage } = await generated({ prompt: newPrompt(), quality: "low" });
    const line = await eventually(() => {
      const lines = stage.gateway.logs().split("\n");
      const match = lines.find((each) => each.includes(id) && each.includes('"request"'));
      return match ?? expect.fail("no line");
    });
    expect(JSON.parse(line)).toMatchObject({ model: "gpt-image-1.5", upstream_model: SUNBURST });
    const generation = stage.gateway
      .logs()
      .split("\n")
      .find((each) => each.includes(id) && each.includes('"generation"'));
    const cost = Number(usage["input_tokens"]) * 5 + Number(usage["output_tokens"]) * 30;
    expect(JSON.parse(String(generation))).toMatchObject({ model: SUNBURST, cost_usd: cost / 1e6 });
    const authorization = `Bearer ${ADMIN_KEY}`;
    const usageOf = async (model: string) => {
      const { days } = await getJson<{
        days: { day: string; callers: { model: string; images: number; hits: number }[] }[];
      }>("/v1/usage", { authorization });
      const today = days.find(({ day }) => day === DECEMBER_2.slice(0, 10));
      return today?.callers.find((caller) => caller.model === model);
    };
    expect((await usageOf(SUNBURST))?.images).toBeGreaterThan(0);
    // A hit on an image of the retired model counts under that model.
    await stage.setClock(NOVEMBER_30);
    const body = { prompt: newPrompt(), model: "gpt-image-1.5-2025-12-16" };
    await cached(await generated(body));
    await stage.setClock(DECEMBER_2);
    await generated(body);
    await eventually(async () => {
      await generated(body);
      expect((await usageOf(body.model))?.hits).toBeGreaterThan(0);
    });
  });

  it("appears in the diagnostics as a warning, not as a failure", async () => {
    const modelCheck = async () => {
      const authorization = `Bearer ${ADMIN_KEY}`;
      const { checks: all } = await getJson<{
        checks: { name: string; ok: boolean; warning?: boolean; detail: string; cure?: string }[];
      }>("/v1/doctor", { authorization });
      return all.find(({ name }) => name === "model");
    };
    expect(await modelCheck()).toMatchObject({ ok: true, warning: true });
    expect((await modelCheck())?.detail).toContain("OpenAI shuts it down on 2026-12-01");
    await stage.setClock(DECEMBER_2);
    const after = await modelCheck();
    expect(after).toMatchObject({ ok: true, warning: true });
    expect(after?.detail).toContain(`OpenAI shut it down on 2026-12-01`);
    expect(after?.cure).toContain(`DEFAULT_MODEL = "${SUNBURST}"`);
  });
});
