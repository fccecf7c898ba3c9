import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import OpenAI, { RateLimitError } from "openai";
import { beforeEach, describe, expect, it } from "vitest";
import { RATE_LIMITS } from "../../src/access/rate-limit.ts";
import { read, stage, type ErrorAnswer } from "../support/stage.ts";
import { newPrompt, SMALL as SMALLEST } from "../support/bodies.ts";

const LIMIT = 3;
const theStage = stage({}, { rateLimit: LIMIT });

const SMALL = { ...SMALLEST, response_format: "url" } as const;

/** Longer than any test here takes. */
const TEST_MS = 8000;

// The platform counts by the minute of the clock: no test may be cut in two by it.
beforeEach(async () => {
  const leftMs = 60_000 - (Date.now() % 60_000);
  if (leftMs < TEST_MS) await wait(leftMs);
});

let networks = 0;
/** An address that no other test has. */
function newAddress(): string {
  networks += 1;
  return `203.0.113.${networks}`;
}

function post(address: string, prompt: string): Promise<Response> {
  return theStage.post({ ...SMALL, prompt }, { "cf-connecting-ip": address });
}

describe("the rate limit", () => {
  it("refuses what is too much, and says when to come again", async () => {
    const address = newAddress();
    const statuses: number[] = [];
    for (let sent = 0; sent < LIMIT; sent += 1) {
      statuses.push((await post(address, newPrompt())).status);
    }
    expect(statuses).toEqual(Array(LIMIT).fill(200));
    const refused = await post(address, newPrompt());
    expect(refused.status).toBe(429);
    expect(refused.headers.get("retry-after")).toBe("60");
    expect(refused.headers.get("ratelimit")).toBe('"requests";r=0;t=60');
    expect(refused.headers.get("ratelimit-policy")).toBe(
      '"requests";q=300;w=60, "generations";q=20;w=60',
    );
    expect((await read<ErrorAnswer>(refused)).error).toMatchObject({
      type: "rate_limit_error",
      code: "rate_limit_exceeded",
      param: null,
    });
  });

  it("counts each network for itself, and all of an IPv6 one together", async () => {
    for (let sent = 0; sent < LIMIT; sent += 1) {
      await post(`2001:db8:7:7::${sent}`, newPrompt());
    }
    expect((await post("2001:db8:7:7:ffff::1", newPrompt())).status).toBe(429);
    expect((await post("2001:db8:7:8::1", newPrompt())).status).toBe(200);
  });

  it("is known to the SDK, which waits as it is told and tells its caller", async () => {
    const address = newAddress();
    for (let sent = 0; sent < LIMIT; sent += 1) await post(address, newPrompt());
    const client = new OpenAI({
      apiKey: "sk-any",
      baseURL: `${theStage.gateway.url}/v1`,
      maxRetries: 0,
      defaultHeaders: { "cf-connecting-ip": address },
    });
    const asking = client.images.generate({ ...SMALL, prompt: newPrompt() });
    await expect(asking).rejects.toBeInstanceOf(RateLimitError);
  });

  it("is what wrangler.toml sets", async () => {
    const toml = await readFile(join(import.meta.dirname, "../../wrangler.toml"), "utf8");
    const set = [
      ...toml.matchAll(
        /name = "RATE_LIMIT_(\w+)"\n.*\nsimple = \{ limit = (\d+), period = (\d+) \}/g,
      ),
    ];
    const limits = set.map(([, name = "", limit, period]) => [
      name.toLowerCase(),
      { limit: Number(limit), periodSeconds: Number(period) },
    ]);
    expect(Object.fromEntries(limits)).toEqual(RATE_LIMITS);
  });
});

describe("headers that make a browser careful", () => {
  it.each([["/v1/models"], ["/v1/nothing"], ["/health"]])("stand on %s", async (path) => {
    const { headers } = await fetch(`${theStage.gateway.url}${path}`);
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("referrer-policy")).toBe("no-referrer");
    expect(headers.get("x-frame-options")).toBe("DENY");
    expect(headers.get("strict-transport-security")).toMatch(/^max-age=\d+$/);
  });
});

describe("a body", () => {
  it("that is nested without end is refused before it is parsed", async () => {
    const response = await fetch(`${theStage.gateway.url}/v1/images/generations`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: `${"[".repeat(30_000)}${"]".repeat(30_000)}`,
    });
    expect(response.status).toBe(400);
    expect((await read<ErrorAnswer>(response)).error.code).toBe("invalid_json");
  });

  it("may hold brackets in its texts", async () => {
    const prompt = newPrompt(`${"[{".repeat(40)} \\" "`);
    expect((await post(newAddress(), prompt)).status).toBe(200);
  });
});
