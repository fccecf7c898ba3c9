import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { spentToday, usageOf } from "../../src/access/accounts.ts";
import { IDEMPOTENCY_SECONDS } from "../../src/generation/idempotency.ts";
import { newBody } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import type { GenerationBody } from "../support/stage.ts";
import { passKvTime } from "../support/worker/edge-kv.ts";
import { failAccounts } from "../support/worker/failing-accounts.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  bindings,
  changeEnvironment,
  copied,
  environment,
  errorOf,
  post,
  sharedObject,
  testConfig,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { hangAfter } from "../support/worker/hanging-calls.ts";
import { passTime } from "../support/worker/pass-time.ts";

quietAndFresh({ expectsErrors: true });

const NO_STORE = { "cache-control": "no-store" };

function newKey(): { "idempotency-key": string } {
  return { "idempotency-key": crypto.randomUUID() };
}

async function idOf(response: Response): Promise<string> {
  expect(response.status).toBe(200);
  return (await response.json<GenerationBody>()).id;
}

/** Deletes every entry of KV, as their expiry does, and the cached reads of all locations. */
async function emptyCache(): Promise<void> {
  passKvTime(60);
  const { keys } = await bindings().CACHE.list();
  await Promise.all(keys.map(({ name }) => bindings().CACHE.delete(name)));
}

/** Expects that a key is free: another request can claim it. */
async function expectFree(key: { "idempotency-key": string }): Promise<void> {
  await idOf(await post(newBody(), { ...key, ...NO_STORE }));
}

describe("an Idempotency-Key is not claimed by a request", () => {
  it("with `only-if-cached` that is rejected with 504", async () => {
    const key = newKey();
    const response = await post(newBody(), { ...key, "cache-control": "only-if-cached" });
    expect(await errorOf(response)).toEqual([504, "not_cached", null]);
    await expectFree(key);
  });

  it("that is a cache hit", async () => {
    const body = newBody();
    await post(body);
    await copied();
    const key = newKey();
    expect((await post(body, key)).headers.get("cache-status")).toMatch(/^darkroom; hit/);
    await expectFree(key);
  });

  it("that joins a generation in progress", async () => {
    const body = newBody("[upstream delay=300]");
    const first = post(body);
    await eventually(async () => expect(await upstreamCalls(body.prompt)).toBe(1));
    const key = newKey();
    expect(await idOf(await post(body, key))).toBe(await idOf(await first));
    await expectFree(key);
  });

  it("that its account rejects", async () => {
    const body = newBody();
    await changeEnvironment(await sharedObject(body), { BUDGET_USD_PER_DAY: "0.000001" });
    const key = newKey();
    expect((await post(body, key)).status).toBe(429);
    await expectFree(key);
  });

  it("whose account cannot be reached", async () => {
    const key = newKey();
    failAccounts(true);
    expect((await post(newBody(), { ...key, ...NO_STORE })).status).toBe(500);
    failAccounts(false);
    await eventually(async () => {
      expect((await post(newBody(), { ...key, ...NO_STORE })).status).toBe(200);
    });
  });
});

describe("requests with the same Idempotency-Key", () => {
  it("start one generation if they come at once, each in an object of its own", async () => {
    const body = newBody("[upstream delay=200]");
    const headers = { ...newKey(), ...NO_STORE };
    const responses = await Promise.all(Array.from({ length: 8 }, () => post(body, headers)));
    const ids = await Promise.all(responses.map(idOf));
    expect(new Set(ids).size).toBe(1);
    expect(await upstreamCalls(body.prompt)).toBe(1);
    const usage = await spentToday(testConfig());
    await post(newBody());
    expect(await spentToday(testConfig())).toBeLessThanOrEqual(2 * usage + 1);
  });

  it("are rejected with 422 if they differ, also if they come at once", async () => {
    const key = newKey();
    const bodies = [newBody("[upstream delay=200]"), newBody("[upstream delay=200]")];
    const responses = await Promise.all(bodies.map((body) => post(body, { ...key, ...NO_STORE })));
    expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200, 422]));
    const calls = await Promise.all(bodies.map(({ prompt }) => upstreamCalls(prompt)));
    expect(new Set(calls)).toEqual(new Set([0, 1]));
  });

  it("start again after a failure that cost nothing", async () => {
    const body = newBody("[upstream status=400 times=1]");
    const headers = { ...newKey(), ...NO_STORE };
    expect((await post(body, headers)).status).toBe(400);
    const id = await idOf(await post(body, headers));
    expect(await idOf(await post(body, headers))).toBe(id);
    expect(await upstreamCalls(body.prompt)).toBe(2);
  });
});

describe("an Idempotency-Key whose images have expired in KV", () => {
  it("returns them for a day, and starts no other generation", async () => {
    const body = newBody();
    const key = newKey();
    const expiring = environment({ CACHE_TTL_SECONDS: "60" });
    await changeEnvironment(await sharedObject(body), { CACHE_TTL_SECONDS: "60" });
    const first = await post(body, key, expiring);
    const images = await first.json<GenerationBody>();
    await copied();
    await emptyCache();

    await passTime(IDEMPOTENCY_SECONDS - 60);
    const repeated = await post(body, key, expiring);
    expect(await repeated.json<GenerationBody>()).toEqual(images);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});

describe("an Idempotency-Key of a generation that may have been charged", () => {
  it("starts no other one, however often the request fails without it", async () => {
    const body = newBody("[upstream answer=html]");
    const key = newKey();
    await changeEnvironment(await sharedObject(body), { BUDGET_USD_PER_DAY: "100" });
    expect((await post(body, key)).status).toBe(502);
    for (let failures = 0; failures < 11; failures += 1) await post(body);
    expect((await post(body, key)).status).toBe(502);
    expect(await upstreamCalls(body.prompt)).toBe(12);
  });
});

describe("an object that dies while a start is being decided", () => {
  it("releases the reservation and the Idempotency-Key, and calls no upstream", async () => {
    const body = newBody();
    const key = newKey();
    const object = await sharedObject(body);
    await changeEnvironment(object, { BUDGET: hangAfter(bindings().BUDGET, "reserve") });
    const response = post(body, key);
    await eventually(async () => expect(await spentToday(testConfig())).toBeGreaterThan(0));
    await runInDurableObject(object, (_, state) => {
      state.abort("as if the machine had failed");
    }).catch(() => undefined);
    // The next call of the Worker finds a new instance, which starts again.
    expect((await response).status).toBe(200);
    expect(await upstreamCalls(body.prompt)).toBe(1);
    await eventually(async () => {
      const open = await runInDurableObject(await sharedObject(body), (_, state) => [
        ...state.storage.kv.list({ prefix: "reserving/" }),
      ]);
      expect(open).toEqual([]);
      // Only the generation that ran was charged.
      const { rows, spentToday: spent } = await usageOf(testConfig());
      expect(spent).toBeGreaterThan(0);
      expect(rows.reduce((sum, row) => sum + row.spent, 0)).toBe(spent);
    });
    expect(await idOf(await post(body, key))).toBe(await idOf(await post(body)));
  });
});

describe("a hundred identical requests at once from one network", () => {
  it("are all answered by one upstream call", async () => {
    const body = { ...newBody("[upstream delay=500]"), response_format: "url" };
    const responses = await Promise.all(Array.from({ length: 100 }, () => post(body)));
    expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200]));
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});

describe("a `no-store` request that the upstream's moderation blocks", () => {
  it("leaves nothing in KV", async () => {
    const body = newBody("[upstream status=400 code=moderation_blocked]");
    expect((await post(body, NO_STORE)).status).toBe(400);
    expect((await post(body)).status).toBe(400);
    await eventually(async () => {
      const { keys } = await bindings().CACHE.list({ prefix: "refusal/" });
      expect(keys).toHaveLength(1);
    });
    expect(await upstreamCalls(body.prompt)).toBe(2);
    const other = newBody("[upstream status=400 code=moderation_blocked]");
    await post(other, { ...NO_STORE, ...newKey() });
    expect((await bindings().CACHE.list()).keys).toHaveLength(1);
  });
});
