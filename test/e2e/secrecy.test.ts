import { afterAll, describe, expect, it } from "vitest";
import { UPSTREAM_KEY } from "../support/gateway.ts";
import { stage } from "../support/stage.ts";
import { WISH } from "../support/expect-fault.ts";
import { newPrompt } from "../support/bodies.ts";

const theStage = stage({ UPSTREAM_MAX_RETRIES: "0" });
const CLIENT_KEY = "sk-client-0a1b2c3d4e5f";

/** Everything that any answer of this file held. */
const seen: string[] = [];

async function post(directives: string, body: object = {}): Promise<Response> {
  const prompt = newPrompt(`${WISH} [upstream ${directives}]`);
  const response = await theStage.post(
    { prompt, model: "dall-e-2", size: "256x256", response_format: "url", ...body },
    { authorization: `Bearer ${CLIENT_KEY}`, "openai-organization": "org-1", cookie: "a=b" },
  );
  seen.push(JSON.stringify([...response.headers]), await response.clone().text());
  return response;
}

describe("what goes to the upstream", () => {
  it("carries the gateway's key, and nothing of the client's", async () => {
    const prompt = newPrompt(WISH);
    await theStage.post(
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
    const [received] = theStage.upstream.received(prompt);
    expect(received?.headers.authorization).toBe(`Bearer ${UPSTREAM_KEY}`);
    const allowed = new Set([
      "accept",
      "authorization",
      "content-type",
      "content-length",
      "user-agent",
      // The runtime's own.
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
      size: "auto",
      user: "u-1",
    });
  });
});

describe("what comes from the upstream", () => {
  it("passes on none of its headers", async () => {
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
  ])("is an error without key or prompt: %s", async (directives) => {
    const response = await post(directives);
    expect(response.status).toBeGreaterThanOrEqual(400);
    const text = await response.text();
    for (const secret of [
      UPSTREAM_KEY,
      UPSTREAM_KEY.slice(0, 12),
      CLIENT_KEY,
      WISH,
      "nobody else",
    ]) {
      expect(text).not.toContain(secret);
    }
  });
});

describe("a second look at everything", () => {
  it("finds the key in no answer", () => {
    expect(seen.length).toBeGreaterThan(20);
    expect(seen.join("\n")).not.toContain(UPSTREAM_KEY);
    expect(seen.join("\n")).not.toContain(CLIENT_KEY);
  });

  it("finds neither key nor prompt nor picture in the log", () => {
    const logs = theStage.gateway.logs();
    expect(logs.split("\n").length).toBeGreaterThan(10);
    for (const secret of [UPSTREAM_KEY, CLIENT_KEY, WISH, "iVBORw0KGgo", "u-1"]) {
      expect(logs).not.toContain(secret);
    }
  });

  it("finds no key and no prompt in KV", async () => {
    const { keys } = await theStage.gateway.cache.list();
    expect(keys.length).toBeGreaterThan(2);
    for (const { name } of keys.filter((key) => !key.name.startsWith("image/"))) {
      const value = await theStage.gateway.cache.get(name, "text");
      expect(value).not.toContain(UPSTREAM_KEY);
      expect(value).not.toContain(WISH);
    }
  });
});

afterAll(() => {
  seen.length = 0;
});
