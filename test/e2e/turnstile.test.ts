import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { postGeneration, startGateway, type Gateway } from "../support/gateway.ts";
import { startSimulator, type Simulator } from "../support/upstream/simulator.ts";
import { startSiteverify, type Siteverify } from "../support/siteverify.ts";
import { read, type ErrorBody } from "../support/stage.ts";
import { newBody } from "../support/bodies.ts";

const TURNSTILE_SECRET = "0x4AAAAAAA-turnstile-secret";

let upstream: Simulator;
let siteverify: Siteverify;
let gateway: Gateway;

beforeAll(async () => {
  [upstream, siteverify] = await Promise.all([startSimulator(), startSiteverify()]);
  gateway = await startGateway(inject("bundle"), {
    UPSTREAM_BASE_URL: upstream.baseUrl,
    ACCESS: "token",
    TURNSTILE_SECRET,
    TURNSTILE_SITE_KEY: "0x4AAAAAAA-site-key",
    TURNSTILE_VERIFY_URL: siteverify.url,
  });
}, 60_000);

afterAll(async () => {
  await gateway.close();
  await Promise.all([upstream.close(), siteverify.close()]);
});

const newToken = (kind: string) => `${kind}-${crypto.randomUUID()}`;

function mint(turnstile_token: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${gateway.url}/v1/tokens`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ turnstile_token }),
  });
}

function post(token: string, headers: Record<string, string> = {}): Promise<Response> {
  return postGeneration(gateway, newBody(), { authorization: `Bearer ${token}`, ...headers });
}

describe("a Turnstile token", () => {
  it("is exchanged for a token that is valid for ten minutes at the page's origin", async () => {
    const origin = gateway.url;
    const response = await mint(newToken("good"), { origin, "cf-connecting-ip": "203.0.113.7" });
    expect(response.status).toBe(201);
    const { token, sub, expires_at } = await read<{
      token: string;
      sub: string;
      expires_at: number;
    }>(response);
    expect(sub).toBe("turnstile");
    expect(Math.abs(expires_at - Date.now() / 1000 - 600)).toBeLessThan(5);
    expect((await post(token, { origin })).status).toBe(200);
    expect((await post(token, { origin: "https://evil.example" })).status).toBe(403);
  });

  it("is verified once, with the secret and an idempotency key", async () => {
    const token = newToken("good");
    await mint(token);
    const sent = siteverify.received.filter(({ response }) => response === token);
    expect(sent).toEqual([
      expect.objectContaining({ secret: TURNSTILE_SECRET, idempotency_key: expect.any(String) }),
    ]);
  });

  it("is accepted only once", async () => {
    const token = newToken("good");
    expect((await mint(token)).status).toBe(201);
    const repeated = await mint(token);
    expect(repeated.status).toBe(403);
    expect((await read<ErrorBody>(repeated)).error.code).toBe("turnstile_failed");
  });

  it.each(["bad", "other-host", "other-action", "html", "status-500", "cut"])(
    "is rejected with 403 `turnstile_failed` after the verification result %s",
    async (kind) => {
      const response = await mint(newToken(kind));
      expect(response.status).toBe(403);
      expect((await read<ErrorBody>(response)).error.code).toBe("turnstile_failed");
    },
  );

  it.each([
    ["", "empty_string"],
    ["x".repeat(2049), "string_above_max_length"],
    [7, "invalid_type"],
  ])("is rejected with 400 before verification if it is malformed: %s", async (token, code) => {
    const before = siteverify.received.length;
    const response = await mint(token);
    expect(response.status).toBe(400);
    expect((await read<ErrorBody>(response)).error).toMatchObject({
      code,
      param: "turnstile_token",
    });
    expect(siteverify.received).toHaveLength(before);
  });

  it("is rejected together with `sub` and `ttl_seconds`", async () => {
    const response = await fetch(`${gateway.url}/v1/tokens`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ turnstile_token: newToken("good"), sub: "web", ttl_seconds: 9999 }),
    });
    expect(response.status).toBe(400);
  });
});

it("GET /health returns the site key, and not the secret", async () => {
  const text = await (await fetch(`${gateway.url}/health`)).text();
  expect(JSON.parse(text)).toMatchObject({
    access: "token",
    turnstile_site_key: "0x4AAAAAAA-site-key",
    secrets: { TURNSTILE_SECRET: true },
  });
  expect(text).not.toContain(TURNSTILE_SECRET);
});

it("the log contains no token and no secret", () => {
  const logs = gateway.logs();
  expect(logs).toMatch(/"route":"\/v1\/images\/generations".*"caller":"[0-9a-f]{16}"/);
  const texts = [TURNSTILE_SECRET, "good-", "eyJhbGciOi"];
  expect(texts.filter((text) => logs.includes(text))).toEqual([]);
});
