import { beforeEach, describe, expect, it } from "vitest";
import fc from "fast-check";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  ADMIN,
  copied,
  environment,
  errorOf,
  fetchWorker,
  post,
} from "../support/worker/harness.ts";
import { newBody } from "../support/bodies.ts";
import { TOKEN_SECRET } from "../support/vars.ts";

quietAndFresh();

const LIMIT = 3;

/** Counts as the platform's rate limit does, and holds its keys. */
class RateLimit {
  readonly counts = new Map<string, number>();

  limit({ key }: { key: string }): Promise<{ success: boolean }> {
    const count = (this.counts.get(key) ?? 0) + 1;
    this.counts.set(key, count);
    return Promise.resolve({ success: count <= LIMIT });
  }
}

let networks = 0;
let network = "";
let requests = new RateLimit();

beforeEach(() => {
  networks += 1;
  network = `198.51.100.${networks}`;
  requests = new RateLimit();
});

function send(
  path: string,
  headers: Record<string, string> = {},
  init: { method?: string; env?: Record<string, unknown> } = {},
): Promise<Response> {
  const env = environment({ TOKEN_SECRET, RATE_LIMIT_REQUESTS: requests, ...init.env });
  return fetchWorker(path, env, {
    method: init.method ?? "GET",
    headers: { "cf-connecting-ip": network, ...headers },
  });
}

/** Returns the path of a cached image. */
async function imagePath(): Promise<string> {
  const response = await post(newBody());
  const { data } = await response.json<{ data: [{ url: string }] }>();
  await copied();
  return new URL(data[0].url).pathname;
}

/** Returns the path of an image with a random id. */
function unknownImage(): string {
  const id = crypto.getRandomValues(new Uint8Array(44)).toBase64({ alphabet: "base64url" });
  return `/v1/images/gen_${id.slice(0, 59)}/0.png`;
}

describe("the rate limit of image URLs", () => {
  it("rejects guesses of ids from one network with 429, readable from every origin", async () => {
    for (let guess = 0; guess < LIMIT; guess += 1) {
      expect((await send(unknownImage())).status).toBe(404);
    }
    const env = { ALLOWED_ORIGINS: "https://app.example" };
    const limited = await send(unknownImage(), {}, { env });
    expect(limited.headers.get("access-control-allow-origin")).toBe("*");
    expect(limited.headers.get("retry-after")).toBe("60");
    expect(limited.headers.get("ratelimit")).toBe('"requests";r=0;t=60');
    expect(await errorOf(limited)).toEqual([429, "rate_limit_exceeded", null]);
    network = `other ${network}`;
    expect((await send(unknownImage())).status).toBe(404);
  });

  it("counts images apart from the other requests of the network", async () => {
    const path = await imagePath();
    for (let sent = 0; sent < LIMIT; sent += 1) expect((await send(path)).status).toBe(200);
    for (const method of ["GET", "HEAD"]) {
      expect((await send(path, {}, { method })).status).toBe(429);
    }
    expect((await send(`/v1/images/generations/${"a".repeat(9)}`)).status).toBe(404);
    expect([...requests.counts.keys()]).toEqual([`image/${network}`, `network/${network}`]);
  });

  it("is asked while KV is read, and a limited request cancels the image", async () => {
    const path = await imagePath();
    const reading = Promise.withResolvers<void>();
    const cancelled = Promise.withResolvers<void>();
    const CACHE = {
      getWithMetadata() {
        reading.resolve();
        const value = new ReadableStream({ type: "bytes", cancel: () => cancelled.resolve() });
        return Promise.resolve({ value, metadata: { type: "png", sizeBytes: 1 } });
      },
    };
    const RATE_LIMIT_REQUESTS = {
      async limit() {
        await reading.promise;
        return { success: false };
      },
    };
    const limited = await send(path, {}, { env: { CACHE, RATE_LIMIT_REQUESTS } });
    expect(limited.status).toBe(429);
    await cancelled.promise;
  });
});

describe("the admin key", () => {
  const wrong = { authorization: `Bearer ${"x".repeat(32)}` };

  it("is not compared any more after too many wrong ones from a network, for a minute", async () => {
    for (let guess = 0; guess < LIMIT; guess += 1) {
      expect(await errorOf(await send("/v1/usage", wrong))).toEqual([401, "invalid_token", null]);
    }
    const limited = await send("/v1/usage", wrong);
    expect(limited.headers.get("retry-after")).toBe("60");
    expect(await errorOf(limited)).toEqual([429, "rate_limit_exceeded", null]);
    expect([...requests.counts.keys()]).toEqual([`admin/${network}`]);
    for (const [method, path] of [
      ["GET", "/v1/usage"],
      ["GET", "/v1/diagnostics"],
      ["DELETE", "/v1/diagnostics/learned_tokens"],
      ["DELETE", "/v1/images/generations/gen_a"],
      ["DELETE", "/v1/tokens/a"],
      ["DELETE", "/v1/tokens?sub=a"],
    ] as const) {
      expect((await send(path, ADMIN, { method })).status).toBe(429);
    }
    // Rejected without being counted.
    expect(requests.counts.get(`admin/${network}`)).toBe(LIMIT + 1);
    network = `other ${network}`;
    expect((await send("/v1/usage", ADMIN)).status).toBe(200);
  });

  it("is accepted any number of times, and a missing one is not counted", async () => {
    for (let call = 0; call < 2 * LIMIT; call += 1) {
      expect((await send("/v1/usage", ADMIN)).status).toBe(200);
      expect((await send("/v1/usage")).status).toBe(401);
    }
    expect(requests.counts.size).toBe(0);
  });
});

describe("an id in a URL", () => {
  const PATHS: readonly [string, (id: string) => string][] = [
    ["GET", (id) => `/v1/images/generations/${id}`],
    ["DELETE", (id) => `/v1/images/generations/${id}`],
    ["GET", (id) => `/v1/images/batches/${id}`],
    ["GET", (id) => `/v1/images/${id}/0.png`],
    ["HEAD", (id) => `/v1/images/${id}/0.png`],
    ["GET", (id) => `/v1/images/gen_${"A".repeat(59)}/${id}`],
    ["GET", (id) => `/v1/models/${id}`],
    ["DELETE", (id) => `/v1/tokens/${id}`],
  ];

  const oddText = fc.oneof(
    fc.string({ unit: "binary", minLength: 1, maxLength: 40 }),
    fc
      .constantFrom("a", "é", "\u0000", "😀", "/", "%")
      .chain((unit) => fc.integer({ min: 500, max: 3000 }).map((length) => unit.repeat(length))),
    fc.constantFrom("..", ".", "../..", "a/b", "\u0000", "\u{10ffff}", "%2f", "\\", "?", "#"),
  );
  const oddId = fc
    .tuple(fc.constantFrom("", "gen_", "job_", "batch_"), oddText)
    .map(([prefix, text]) => encodeURIComponent(`${prefix}${text}`));
  const brokenEscape = fc.constantFrom("%", "%E0%A4%A", "%ff", "gen_%00", "%C0%AF", "%2e%2e%2f");

  it.each([
    ["600 characters", `gen_${"A".repeat(596)}`],
    ["no form of ids", "x"],
  ])("is 404 at each route of an id with %s", async (_, id) => {
    requests.limit = () => Promise.resolve({ success: true });
    for (const [method, pathOf] of PATHS.slice(0, 6)) {
      const response = await send(pathOf(id), ADMIN, { method });
      expect([method, pathOf(id), response.status]).toEqual([method, pathOf(id), 404]);
    }
  });

  it("is never an error of the gateway, whatever it contains", async () => {
    requests.limit = () => Promise.resolve({ success: true });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...PATHS),
        fc.oneof({ weight: 4, arbitrary: oddId }, brokenEscape),
        async ([method, pathOf], id) => {
          const response = await send(pathOf(id), ADMIN, { method });
          expect(response.status).toBeLessThan(500);
        },
      ),
      { numRuns: 150 },
    );
  });
});
