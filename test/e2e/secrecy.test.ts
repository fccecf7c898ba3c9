import { afterAll, describe, expect, it } from "vitest";
import { UPSTREAM_KEY } from "../support/gateway.ts";
import { startStage } from "../support/stage.ts";
import { PRIVATE_TEXT } from "../support/expect-fault.ts";
import { newPrompt } from "../support/bodies.ts";

const stage = startStage({ UPSTREAM_MAX_RETRIES: "0" });
const CLIENT_KEY = "sk-client-0a1b2c3d4e5f";

/** The headers and bodies of the responses in this file. */
const seen: string[] = [];

async function post(directives: string, body: object = {}): Promise<Response> {
  const prompt = newPrompt(`${PRIVATE_TEXT} [upstream ${directives}]`);
  const response = await stage.post(
    { prompt, model: "dall-e-2", size: "256x256", response_format: "url", ...body },
    { authorization: `Bearer ${CLIENT_KEY}`, "openai-organization": "org-1", cookie: "a=b" },
  );
  seen.push(JSON.stringify([...response.headers]), await response.clone().text());
  return response;
}

describe("a request to the upstream", () => {
  it("carries the gateway's key and none of the client's headers", async () => {
    const prompt = newPrompt(PRIVATE_TEXT);
    await stage.post(
      { prompt, user: "u-1" },
      {
        authorization: `Bearer ${CLIENT_KEY}`,
        "openai-organization": "org-1",
        "openai-project": "proj-1",
        "x-stainless-lang": "js",
        cookie: "a=b",
        "user-agent": "client/1.0",
      },
    );
    const [received] = stage.upstream.received(prompt);
    expect(received?.headers.authorization).toBe(`Bearer ${UPSTREAM_KEY}`);
    const allowed = new Set([
      "accept",
      "authorization",
      "content-type",
      "content-length",
      "user-agent",
      // Added by the runtime.
      "accept-encoding",
      "connection",
      "host",
      "cf-worker",
    ]);
    expect(Object.keys(received?.headers ?? {}).filter((name) => !allowed.has(name))).toEqual([]);
    expect(received?.headers["user-agent"]).toMatch(/^darkroom\//);
    expect(received?.body).toEqual({
      model: "gpt-image-1.5",
      prompt,
      n: 1,
      user: "u-1",
    });
  });
});

describe("an upstream that identifies callers", () => {
  const identifying = startStage({ SAFETY_IDENTIFIERS: "on" });

  it("receives the same keyed hash with every request of a caller, and no address", async () => {
    const body = { model: "gpt-image-2", size: "1024x640", quality: "low" };
    const texts = [newPrompt(), newPrompt()];
    const responses = await Promise.all(
      texts.map((prompt) => identifying.post({ ...body, prompt })),
    );
    const sent = texts.map(
      (prompt) => identifying.upstream.received(prompt)[0]?.body["safety_identifier"],
    );
    expect(sent).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/), sent[0]]);
    for (const response of responses) {
      expect(response.status).toBe(200);
      expect(await response.text()).not.toContain(String(sent[0]));
    }
    expect(identifying.gateway.logs()).not.toContain(String(sent[0]));
  });
});

describe("a response to the client", () => {
  it("contains none of the upstream's own headers", async () => {
    const response = await post("");
    expect(response.status).toBe(200);
    expect(response.headers.get("set-cookie")).toBeNull();
    expect(response.headers.get("x-upstream-secret")).toBeNull();
  });

  it.each([
    "status=400 error=echo",
    "status=401 error=echo",
    "status=422 error=echo",
    "status=429 error=echo",
    "status=500 error=echo",
    "status=400 error=text",
    "answer=html",
    "answer=truncated",
    "answer=bad-base64",
    "reset=before",
    "reset=body",
    "dialect=url image=expired",
  ])("contains no key and no prompt after the upstream failure %s", async (directives) => {
    const response = await post(directives);
    expect(response.status).toBeGreaterThanOrEqual(400);
    const text = await response.text();
    for (const secret of [
      UPSTREAM_KEY,
      UPSTREAM_KEY.slice(0, 12),
      CLIENT_KEY,
      PRIVATE_TEXT,
      PRIVATE_TEXT.slice(12, 23),
    ]) {
      expect(text).not.toContain(secret);
    }
  });
});

describe("the gateway after all requests of this file", () => {
  it("has sent no API key in any response", () => {
    expect(seen.length).toBeGreaterThan(20);
    expect(seen.join("\n")).not.toContain(UPSTREAM_KEY);
    expect(seen.join("\n")).not.toContain(CLIENT_KEY);
  });

  it("has logged no key, no prompt and no image", () => {
    const logs = stage.gateway.logs();
    expect(logs.split("\n").length).toBeGreaterThan(10);
    for (const secret of [UPSTREAM_KEY, CLIENT_KEY, PRIVATE_TEXT, "iVBORw0KGgo", "u-1"]) {
      expect(logs).not.toContain(secret);
    }
  });

  it("has stored no key and no prompt in KV", async () => {
    const { keys } = await stage.gateway.cache.list();
    expect(keys.length).toBeGreaterThan(2);
    for (const { name } of keys.filter((key) => !key.name.startsWith("image/"))) {
      const value = await stage.gateway.cache.get(name, "text");
      expect(value).not.toContain(UPSTREAM_KEY);
      expect(value).not.toContain(PRIVATE_TEXT);
    }
  });
});

afterAll(() => {
  seen.length = 0;
});
