import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { RateLimitError } from "openai";
import { beforeEach, describe, expect, it } from "vitest";
import { RATE_LIMIT } from "../../src/access/rate-limit.ts";
import { ADMIN_KEY } from "../support/gateway.ts";
import { read, startStage, type ErrorBody } from "../support/stage.ts";
import { openAiAt } from "../support/openai.ts";
import { newPrompt, SMALL } from "../support/bodies.ts";

const LIMIT = 3;
const stage = startStage({ GENERATIONS_PER_MINUTE: "7" }, { rateLimit: LIMIT });

const SMALL_BY_URL = { ...SMALL, response_format: "url" } as const;

/** Upper bound of the duration of one test. */
const TEST_MS = 8000;

// The platform counts per minute of the clock, so no test may run across two minutes.
beforeEach(async () => {
  const leftMs = 60_000 - (Date.now() % 60_000);
  if (leftMs < TEST_MS) await wait(leftMs);
});

let networks = 0;
/** Returns an IP address that no other test uses. */
function newAddress(): string {
  networks += 1;
  return `203.0.113.${networks}`;
}

function post(address: string, prompt: string): Promise<Response> {
  return stage.post({ ...SMALL_BY_URL, prompt }, { "cf-connecting-ip": address });
}

describe("the rate limit", () => {
  it("rejects the first request above the limit with 429 and says when to retry", async () => {
    const address = newAddress();
    const statuses: number[] = [];
    for (let sent = 0; sent < LIMIT; sent += 1) {
      statuses.push((await post(address, newPrompt())).status);
    }
    expect(statuses).toEqual(Array(LIMIT).fill(200));
    const rejected = await post(address, newPrompt());
    expect(rejected.status).toBe(429);
    expect(rejected.headers.get("retry-after")).toBe("60");
    expect(rejected.headers.get("ratelimit")).toBe('"requests";r=0;t=60');
    expect(rejected.headers.get("ratelimit-policy")).toBe(
      '"requests";q=300;w=60, "generations";q=7;w=60',
    );
    expect((await read<ErrorBody>(rejected)).error).toMatchObject({
      type: "rate_limit_error",
      code: "rate_limit_exceeded",
      param: null,
    });
  });

  it("counts each network separately, and all IP addresses of an IPv6 /64 together", async () => {
    for (let sent = 0; sent < LIMIT; sent += 1) {
      await post(`2001:db8:7:7::${sent}`, newPrompt());
    }
    expect((await post("2001:db8:7:7:ffff::1", newPrompt())).status).toBe(429);
    expect((await post("2001:db8:7:8::1", newPrompt())).status).toBe(200);
  });

  it("counts guesses of image ids apart from the other requests of a network", async () => {
    const headers = { "cf-connecting-ip": newAddress() };
    const guess = () =>
      fetch(`${stage.gateway.url}/v1/images/gen_${"A".repeat(59)}/0.png`, { headers });
    const statuses: number[] = [];
    for (let sent = 0; sent <= LIMIT; sent += 1) statuses.push((await guess()).status);
    expect(statuses).toEqual([...Array<number>(LIMIT).fill(404), 429]);
    expect((await post(headers["cf-connecting-ip"], newPrompt())).status).toBe(200);
  });

  it("rejects every admin key from a network after too many wrong ones, and no right one before", async () => {
    const address = newAddress();
    const usage = async (key: string) => {
      const headers = { "cf-connecting-ip": address, authorization: `Bearer ${key}` };
      return (await fetch(`${stage.gateway.url}/v1/usage`, { headers })).status;
    };
    for (let sent = 0; sent <= LIMIT; sent += 1) expect(await usage(ADMIN_KEY)).toBe(200);
    for (let sent = 0; sent < LIMIT; sent += 1) expect(await usage(`${ADMIN_KEY}x`)).toBe(401);
    expect(await usage(`${ADMIN_KEY}x`)).toBe(429);
    expect(await usage(ADMIN_KEY)).toBe(429);
  });

  it("is thrown by the SDK as a RateLimitError", async () => {
    const address = newAddress();
    for (let sent = 0; sent < LIMIT; sent += 1) await post(address, newPrompt());
    const client = openAiAt(stage, {
      maxRetries: 0,
      defaultHeaders: { "cf-connecting-ip": address },
    });
    const generation = client.images.generate({ ...SMALL_BY_URL, prompt: newPrompt() });
    await expect(generation).rejects.toBeInstanceOf(RateLimitError);
  });

  it("matches the limit of every environment in wrangler.toml", async () => {
    const toml = await readFile(join(import.meta.dirname, "../../wrangler.toml"), "utf8");
    const limits = [
      ...toml.matchAll(
        /name = "RATE_LIMIT_REQUESTS"\n.*\nsimple = \{ limit = (\d+), period = (\d+) \}/g,
      ),
    ].map(([, limit, period]) => ({ limit: Number(limit), periodSeconds: Number(period) }));
    expect(limits).toEqual([RATE_LIMIT, RATE_LIMIT]);
  });
});
