import { reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { answer, environment, generationRequest, kv, upstreamCalls } from "./gateway.ts";

interface Answer {
  id: string;
  created: number;
  data: { b64_json?: string; url?: string }[];
  choices: { message: { content: string } }[];
}

const SMALL = { model: "dall-e-2", size: "256x256", response_format: "b64_json" };
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

function newPrompt(directives = ""): string {
  return `${directives} ${crypto.randomUUID()}`;
}

async function post(body: object, headers: Record<string, string> = {}, env = environment()) {
  const response = await answer(generationRequest({ ...SMALL, ...body }, headers), env);
  return {
    response,
    status: response.headers.get("cache-status"),
    body: await response.json<Answer>(),
  };
}

async function kvKeys(): Promise<string[]> {
  return (await kv().list()).keys.map((key) => key.name.replace(/[0-9a-f]{32,}/, "…"));
}

/** A namespace that fails in one of its methods, and is real in the others. */
function failing(method: "get" | "getWithMetadata" | "put"): object {
  const broken = new Proxy(kv(), {
    get(target, name) {
      if (name === method) return () => Promise.reject(new Error("KV is down"));
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return environment({ CACHE: broken });
}

describe("a miss", () => {
  it("is made, kept, and says so", async () => {
    const prompt = newPrompt();
    const { response, status, body } = await post({ prompt, n: 2 });
    expect(response.status).toBe(200);
    expect(status).toBe("darkroom; fwd=miss; stored");
    expect(response.headers.get("age")).toBeNull();
    expect(body.data).toHaveLength(2);
    expect(await kvKeys()).toEqual([
      "generation/gen_…",
      "image/gen_…/0",
      "image/gen_…/1",
      "request/…",
    ]);
    expect(await upstreamCalls(prompt)).toBe(1);
  });

  it("keeps raw bytes, and lets images outlive the record that names them", async () => {
    const { body } = await post(
      { prompt: newPrompt() },
      {},
      environment({ CACHE_TTL_SECONDS: "60" }),
    );
    const { value, metadata } = await kv().getWithMetadata(`image/${body.id}/0`, "arrayBuffer");
    expect(new Uint8Array(value ?? new ArrayBuffer()).toBase64()).toBe(body.data[0]?.b64_json);
    expect(metadata).toEqual({ type: "png", sizeBytes: value?.byteLength });

    const { keys } = await kv().list();
    const expiry = (prefix: string) => keys.find((key) => key.name.startsWith(prefix))?.expiration;
    expect(Number(expiry("request/")) - body.created).toBeLessThanOrEqual(61);
    expect(Number(expiry("image/")) - Number(expiry("request/"))).toBeGreaterThanOrEqual(3599);
  });

  it("writes the record after its images", async () => {
    const put = vi.spyOn(kv(), "put");
    await post({ prompt: newPrompt(), n: 2 }, {}, environment({ CACHE: kv() }));
    const written = put.mock.calls.map(([key]) => key.split("/")[0]);
    expect(written).toEqual(["image", "image", "generation", "request"]);
  });
});

describe("a hit", () => {
  it("is the same generation, for nothing", async () => {
    const prompt = newPrompt();
    const made = await post({ prompt });
    const hit = await post({ prompt });
    expect(hit.body).toEqual(made.body);
    expect(hit.status).toMatch(/^darkroom; hit; ttl=25\d{5}$/);
    expect(Number(hit.response.headers.get("age"))).toBeLessThanOrEqual(2);
    expect(await upstreamCalls(prompt)).toBe(1);
  });

  it("comes in the form that this caller asks for", async () => {
    const prompt = newPrompt();
    const { body } = await post({ prompt });
    const url = `https://gateway.example/v1/images/${body.id}/0.png`;
    const byUrl = await post({ prompt, response_format: "url" });
    expect(byUrl.status).toContain("hit");
    expect(byUrl.body.data).toEqual([{ url }]);
    expect(byUrl.body.choices[0]?.message.content).toBe(`![Image 1](${url})`);
    expect(byUrl.body.choices).toEqual(body.choices);
  });

  it("needs no upstream key", async () => {
    const prompt = newPrompt();
    await post({ prompt });
    const hit = await post({ prompt }, {}, environment({ UPSTREAM_API_KEY: undefined }));
    expect(hit.status).toContain("hit");
  });

  it("is none where an image is gone", async () => {
    const prompt = newPrompt();
    const { body } = await post({ prompt, n: 2 });
    await kv().delete(`image/${body.id}/1`);
    const again = await post({ prompt, n: 2 });
    expect(again.status).toBe("darkroom; fwd=miss; stored");
    expect(again.body.id).not.toBe(body.id);
  });

  it.each([
    ["of another version", { version: 99 }],
    ["that is broken", "{"],
  ])("is none for a record %s", async (_, value) => {
    const prompt = newPrompt();
    await post({ prompt });
    const { keys } = await kv().list({ prefix: "request/" });
    await kv().put(
      String(keys[0]?.name),
      typeof value === "string" ? value : JSON.stringify(value),
    );
    const again = await post({ prompt });
    expect(again.status).toBe("darkroom; fwd=miss; stored");
  });
});

describe("expiry", () => {
  it("ends a record at its time, also when the time is shortened afterwards", async () => {
    const prompt = newPrompt();
    const { body } = await post({ prompt });
    const env = environment({ CACHE_TTL_SECONDS: "60" });
    vi.spyOn(Date, "now").mockReturnValue((body.created + 59) * 1000);
    expect((await post({ prompt }, {}, env)).status).toBe("darkroom; hit; ttl=1");
    vi.spyOn(Date, "now").mockReturnValue((body.created + 60) * 1000);
    expect((await post({ prompt }, {}, env)).status).toBe("darkroom; fwd=miss; stored");
  });
});

describe("request directives", () => {
  it("no-store neither reads nor keeps", async () => {
    const prompt = newPrompt();
    const first = await post({ prompt }, { "cache-control": "no-store" });
    expect(first.status).toBe("darkroom; fwd=request");
    expect(await kvKeys()).toEqual([]);

    const kept = await post({ prompt });
    const second = await post({ prompt }, { "cache-control": "no-store" });
    expect(second.body.id).not.toBe(kept.body.id);
    expect(await upstreamCalls(prompt)).toBe(3);
  });

  it("no-store by URL gives the picture itself, because it has no address", async () => {
    const prompt = newPrompt();
    const { body } = await post(
      { prompt, response_format: "url" },
      { "cache-control": "no-store" },
    );
    expect(body.data[0]?.url).toMatch(/^data:image\/png;base64,iVBORw0KGgo/);
    expect(body.choices[0]?.message.content).toBe(
      "Image 1 is in data[0]. It was not kept, so it has no address.",
    );
  });

  it("no-cache makes it anew and keeps that", async () => {
    const prompt = newPrompt();
    const old = await post({ prompt });
    const anew = await post({ prompt }, { "cache-control": "no-cache" });
    expect(anew.status).toBe("darkroom; fwd=request; stored");
    expect(anew.body.id).not.toBe(old.body.id);
    expect((await post({ prompt })).body.id).toBe(anew.body.id);
  });

  it("max-age takes what is young enough", async () => {
    const prompt = newPrompt();
    const { body } = await post({ prompt });
    vi.spyOn(Date, "now").mockReturnValue((body.created + 10) * 1000);
    const young = await post({ prompt }, { "cache-control": "max-age=10" });
    expect(young.response.headers.get("age")).toBe("10");
    expect(young.body.id).toBe(body.id);
    const old = await post({ prompt }, { "cache-control": "max-age=9" });
    expect(old.status).toBe("darkroom; fwd=request; stored");
    expect(old.body.id).not.toBe(body.id);
  });

  it("only-if-cached never spends", async () => {
    const prompt = newPrompt();
    const missing = await answer(
      generationRequest({ ...SMALL, prompt }, { "cache-control": "only-if-cached" }),
      environment(),
    );
    expect(missing.status).toBe(504);
    expect(await missing.json()).toMatchObject({ error: { code: "not_cached" } });
    expect(await upstreamCalls(prompt)).toBe(0);

    await post({ prompt });
    const found = await post({ prompt }, { "cache-control": "only-if-cached" });
    expect(found.status).toContain("hit");
    expect(await upstreamCalls(prompt)).toBe(1);
  });

  it.each(["only-if-cached, no-cache", "only-if-cached, no-store", "only-if-cached, max-age=0"])(
    "%s never spends either",
    async (directives) => {
      const prompt = newPrompt();
      const { body } = await post({ prompt });
      vi.spyOn(Date, "now").mockReturnValue((body.created + 5) * 1000);
      const response = await answer(
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
    await post({ prompt });
    const { response, status } = await post({ prompt }, {}, failing(method));
    expect(response.status).toBe(200);
    expect(status).toBe("darkroom; fwd=miss; stored");
    expect(logged.join()).toContain('"event":"cache_read_failed"');
    expect(logged.join()).not.toContain("KV is down");
  });

  it("on write costs no picture, and is logged", async () => {
    const prompt = newPrompt();
    const { response, status, body } = await post({ prompt }, {}, failing("put"));
    expect(response.status).toBe(200);
    expect(status).toBe("darkroom; fwd=miss");
    expect(body.data[0]?.b64_json).toMatch(/^iVBORw0KGgo/);
    expect(logged.join()).toContain('"event":"cache_write_failed"');
  });

  it("on write gives the picture itself where a URL was asked for", async () => {
    const { body } = await post(
      { prompt: newPrompt(), response_format: "url" },
      {},
      failing("put"),
    );
    expect(body.data[0]?.url).toMatch(/^data:image\/png;base64,iVBORw0KGgo/);
    expect(body.choices[0]?.message.content).not.toContain("http");
  });
});

describe("a gateway that is not configured", () => {
  it("says which secret is missing, and how to set it", async () => {
    const env = environment({ UPSTREAM_API_KEY: undefined });
    const response = await answer(generationRequest({ ...SMALL, prompt: newPrompt() }), env);
    expect(response.status).toBe(500);
    const { error } = await response.json<{ error: { message: string; code: string } }>();
    expect(error.code).toBe("misconfigured");
    expect(error.message).toContain("UPSTREAM_API_KEY is not set");
    expect(error.message).toContain("wrangler secret put UPSTREAM_API_KEY");
  });

  it("says so to a page of any origin as well", async () => {
    const env = environment({ PROMPT_MAX_CHARS: "secret-value" });
    const response = await answer(new Request("https://gateway.example/health"), env);
    expect(response.status).toBe(500);
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    const text = await response.text();
    expect(text).toContain("PROMPT_MAX_CHARS must be a whole number");
    expect(text).not.toContain("secret-value");
  });
});

describe("our own fault", () => {
  it("is a 500 that says nothing of itself, and a log line that says where", async () => {
    const env = environment({ CACHE: { getWithMetadata: "not a function" } });
    const url = `https://gateway.example/v1/images/gen_${"0".repeat(32)}/0.png`;
    const response = await answer(new Request(url), env);
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
  it("has one line for a request, with its outcome and without its prompt", async () => {
    const prompt = newPrompt("a secret wish");
    const { body } = await post({ prompt });
    const lines = logged.map((line): unknown => JSON.parse(line));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
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
