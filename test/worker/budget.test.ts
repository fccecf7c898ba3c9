import { describe, expect, it } from "vitest";
import {
  releaseBudget,
  reserveBudget,
  settleBudget,
  spentToday,
  usageOf,
} from "../../src/access/accounts.ts";
import type { Limits } from "../../src/access/ledger.ts";
import { dayOf } from "../../src/lib/clock.ts";
import { parseImageRequest } from "../../src/contract/request.ts";
import { toStoredRequest } from "../../src/contract/stored-request.ts";
import { eventually } from "../support/eventually.ts";
import {
  ADMIN,
  changeEnvironment,
  copied,
  environment,
  fetchWorker,
  keyOf,
  post,
  sharedObject,
  testConfig,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { newPrompt } from "../support/bodies.ts";
import { subject, withLedger } from "../support/worker/accounts.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";

quietAndFresh({ expectsErrors: true });

const NOW = Date.UTC(2026, 10, 25) / 1000;
const TODAY = dayOf(NOW);
const UNLIMITED = Number.MAX_SAFE_INTEGER;
const limits = (budget: number, more: Partial<Limits> = {}): Limits => ({
  budget,
  window: "day",
  maxOpen: UNLIMITED,
  ...more,
});

describe("a ledger", () => {
  it("reserves up to the budget, and not a micro-dollar more", async () => {
    await withLedger("exact", (ledger) => {
      expect(ledger.reserve("a", 60, limits(100), NOW)).toBe("reserved");
      expect(ledger.reserve("b", 41, limits(100), NOW)).toBe("held");
      expect(ledger.reserve("c", 40, limits(100), NOW)).toBe("reserved");
      expect(ledger.spent(TODAY)).toBe(100);
    });
  });

  it("does not count a reservation as held by others when a larger amount would replace it", async () => {
    await withLedger("raised", (ledger) => {
      ledger.reserve("spent", 50, limits(100), NOW);
      ledger.settle("spent", 50, NOW);
      ledger.reserve("own", 30, limits(100), NOW);
      expect(ledger.reserve("own", 60, limits(100), NOW)).toBe("exceeded");
      expect(ledger.reserve("own", 50, limits(100), NOW)).toBe("reserved");
      expect(ledger.spent(TODAY)).toBe(100);
    });
  });

  it("counts neither a released reservation nor the unspent part of a settled one", async () => {
    await withLedger("again", (ledger) => {
      ledger.reserve("a", 60, limits(100), NOW);
      ledger.reserve("b", 40, limits(100), NOW);
      ledger.release("a", {}, NOW);
      expect(ledger.settle("b", 10, NOW)).toBe(TODAY);
      expect(ledger.spent(TODAY)).toBe(10);
    });
  });

  it("renews a daily budget on the next day, and never renews a lifetime budget", async () => {
    await withLedger("days", (ledger) => {
      const tomorrow = NOW + 24 * 60 * 60;
      ledger.reserve("a", 100, limits(100), NOW);
      expect(ledger.reserve("b", 100, limits(100), tomorrow)).toBe("reserved");
      const lifetime = limits(100, { window: "life" });
      ledger.reserve("c", 100, lifetime, NOW);
      ledger.settle("c", 100, NOW);
      expect(ledger.reserve("d", 1, lifetime, tomorrow)).toBe("exceeded");
    });
  });

  it("limits the open reservations, and ignores those that are an hour old", async () => {
    await withLedger("open", (ledger) => {
      const two = limits(UNLIMITED, { maxOpen: 2 });
      ledger.reserve("a", 1, two, NOW);
      ledger.reserve("b", 1, two, NOW);
      expect(ledger.reserve("c", 1, two, NOW)).toBe("busy");
      ledger.release("a", {}, NOW);
      expect(ledger.reserve("d", 1, two, NOW)).toBe("reserved");
      expect(ledger.reserve("e", 1, two, NOW + 60 * 60)).toBe("reserved");
    });
  });
});

const ANN = subject("ann");
const BOB = subject("bob");

describe("the budget", () => {
  it("is never exceeded by a thousand concurrent reservations", async () => {
    // Seven reservations of 100 micro-dollars fit, with 50 left over.
    const config = testConfig({
      BUDGET_USD_PER_DAY: "0.000750",
      MAX_CONCURRENT_PER_CALLER: "100000",
    });
    const results = await Promise.all(
      Array.from({ length: 1000 }, (_, index) => reserveBudget(config, ANN, `gen_${index}`, 100)),
    );
    const granted = results.filter(({ failure }) => failure === undefined);
    expect(granted).toHaveLength(7);
    expect(await spentToday(config)).toBe(700);
    expect(results.find(({ failure }) => failure !== undefined)?.failure).toMatchObject({
      code: "rate_limit_exceeded",
      reason: "reserved",
    });
  });

  it("is separate for each caller, and a rejected reservation charges no account", async () => {
    const config = testConfig({
      BUDGET_USD_PER_DAY: "0.001",
      BUDGET_USD_PER_DAY_PER_CALLER: "0.0003",
    });
    expect((await reserveBudget(config, ANN, "gen_1", 300)).failure).toBeUndefined();
    await settleBudget(config, ANN, "gen_1", { spent: 300, model: "m", images: 1 });
    expect((await reserveBudget(config, ANN, "gen_2", 1)).failure).toMatchObject({
      code: "budget_exceeded",
    });
    expect((await reserveBudget(config, BOB, "gen_3", 300)).failure).toBeUndefined();
    expect(await spentToday(config)).toBe(600);
  });

  it("of a token has no retry time, and regains the unspent part of a settled reservation", async () => {
    const config = testConfig();
    const caller = { ...ANN, token: { jti: "tok_1", budget: 500 } };
    expect((await reserveBudget(config, caller, "gen_1", 500)).failure).toBeUndefined();
    await settleBudget(config, caller, "gen_1", { spent: 200, model: "m", images: 1 });
    expect((await reserveBudget(config, caller, "gen_2", 301)).failure).toEqual({
      code: "budget_exceeded",
      retryAfterSeconds: undefined,
    });
    expect((await reserveBudget(config, caller, "gen_3", 300)).failure).toBeUndefined();
  });

  it("limits the concurrent generations of a caller", async () => {
    const config = testConfig({ MAX_CONCURRENT_PER_CALLER: "2" });
    await reserveBudget(config, ANN, "gen_1", 1);
    await reserveBudget(config, ANN, "gen_2", 1);
    expect((await reserveBudget(config, ANN, "gen_3", 1)).failure).toMatchObject({
      code: "rate_limit_exceeded",
      reason: "concurrency",
    });
    await releaseBudget(config, ANN, "gen_1");
    expect((await reserveBudget(config, ANN, "gen_4", 1)).failure).toBeUndefined();
  });

  it("counts a generation once if it is settled twice", async () => {
    const config = testConfig();
    await reserveBudget(config, ANN, "gen_1", 500);
    const cost = { spent: 200, model: "m", images: 1 };
    await settleBudget(config, ANN, "gen_1", cost);
    await settleBudget(config, ANN, "gen_1", cost);
    const { rows, spentToday: spent } = await usageOf(config);
    expect(spent).toBe(200);
    expect(rows).toMatchObject([{ caller: "ann", model: "m", images: 1, spent: 200 }]);
  });
});

const LOW = { model: "gpt-image-1.5", size: "1024x1024", quality: "low" };

async function codeOf(response: Response): Promise<string> {
  return (await response.json<{ error: { code: string } }>()).error.code;
}

describe("a generation", () => {
  it("costs the tokens that the upstream reports, and a cache hit costs nothing", async () => {
    const env = environment();
    const body = { ...LOW, prompt: newPrompt() };
    const { usage } = await (
      await post(body, {}, env)
    ).json<{ usage: { output_tokens: number; input_tokens: number } }>();
    await copied();
    const spent = usage.input_tokens * 5 + usage.output_tokens * 32;
    await eventually(async () => expect(await spentToday(testConfig())).toBe(spent));

    const hit = await post(body, {}, env);
    expect(hit.headers.get("cache-status")).toMatch(/^darkroom; hit/);
    expect(await spentToday(testConfig())).toBe(spent);
    const { rows } = await usageOf(testConfig());
    expect(rows).toMatchObject([{ caller: "public", images: 1, hits: 1, spent, saved: spent }]);
  });

  it.each([
    ["one token", "tokens=1"],
    ["a fraction of the tokens of an image", "tokens=130.7"],
    ["a negative number of tokens", "tokens=-5"],
    ["more tokens than there can be", `tokens=${2 ** 53 - 1}`],
    ["no usage", "usage=none"],
    ["a usage of zeros", "usage=zeros"],
    ["one token in a chat completion", "dialect=chat-data tokens=1"],
  ])("costs what the table says if the upstream reports %s", async (_, directives) => {
    const prompt = newPrompt(`[upstream ${directives}]`);
    expect((await post({ ...LOW, prompt })).status).toBe(200);
    const ofImage = 272 * 32;
    // The tokens of the prompt are those that the upstream reports, or an upper bound.
    const ofPrompt = (new TextEncoder().encode(prompt).byteLength + 100) * 5;
    await eventually(async () => {
      const spent = await spentToday(testConfig());
      expect(spent).toBeGreaterThan(ofImage);
      expect(spent).toBeLessThanOrEqual(ofImage + ofPrompt);
      const { rows } = await usageOf(testConfig());
      expect(rows).toMatchObject([{ images: 1, spent }]);
    });
  });

  it("costs the tokens that the upstream reports, if they are more than the table says", async () => {
    await post({ ...LOW, prompt: newPrompt("[upstream tokens=1000]") });
    await eventually(async () => {
      const spent = await spentToday(testConfig());
      expect(spent).toBeGreaterThan(1000 * 32);
      expect(spent).toBeLessThan(1100 * 32);
    });
  });

  it("shows the cost at which it was charged to a cache hit, whatever the prices are then", async () => {
    const body = { ...LOW, prompt: newPrompt() };
    await post(body);
    await copied();
    const spent = await spentToday(testConfig());
    const env = environment({ PRICES: '{"gpt-image-1.5":{"per_image":1}}' });
    expect((await post(body, {}, env)).headers.get("cache-status")).toMatch(/^darkroom; hit/);
    await eventually(async () => {
      const { rows } = await usageOf(testConfig());
      expect(rows).toMatchObject([{ hits: 1, saved: spent }]);
    });
  });

  it("fails with `budget_exceeded` and the seconds until midnight UTC, without an upstream call", async () => {
    const prompt = newPrompt();
    const body = { ...LOW, prompt };
    const vars = { BUDGET_USD_PER_DAY: "0.02", BUDGET_USD_PER_DAY_PER_CALLER: "0.02" };
    await changeEnvironment(await sharedObject(body), vars);
    await reserveBudget(testConfig(vars), ANN, "gen_before", 15_000);
    const cost = { spent: 15_000, model: "m", images: 1 };
    await settleBudget(testConfig(vars), ANN, "gen_before", cost);
    const response = await post(body);
    expect(response.status).toBe(429);
    expect(response.headers.get("x-should-retry")).toBe("false");
    const seconds = Number(response.headers.get("retry-after"));
    const midnight = (Math.floor(Date.now() / 1000) + seconds) % (24 * 60 * 60);
    expect(Math.min(midnight, 24 * 60 * 60 - midnight)).toBeLessThan(5);
    expect(await codeOf(response)).toBe("budget_exceeded");
    expect(await upstreamCalls(prompt)).toBe(0);
  });

  it("costs nothing if the upstream rejects it with 400", async () => {
    const prompt = newPrompt("[upstream status=400]");
    const response = await post({ ...LOW, prompt });
    expect(response.status).toBe(400);
    await eventually(async () => expect(await spentToday(testConfig())).toBe(0));
  });

  it("is charged its upper bound if the upstream response is invalid", async () => {
    const prompt = newPrompt("[upstream answer=html]");
    const response = await post({ ...LOW, prompt });
    expect(await codeOf(response)).toBe("upstream_invalid_response");
    const bytes = new TextEncoder().encode(prompt).byteLength;
    const upperBound = (bytes + 100) * 5 + 272 * 32;
    await eventually(async () => {
      const { rows, spentToday: spent } = await usageOf(testConfig());
      expect(spent).toBe(upperBound);
      expect(rows).toMatchObject([{ images: 0, spent: upperBound }]);
    });
  });

  it("is paid once for ten concurrent requests, on a budget for one", async () => {
    const prompt = newPrompt("[upstream delay=300]");
    const body = { ...LOW, prompt };
    const vars = {
      BUDGET_USD_PER_DAY: "0.015",
      BUDGET_USD_PER_DAY_PER_CALLER: "0.015",
      MAX_CONCURRENT_PER_CALLER: "1",
    };
    await changeEnvironment(await sharedObject(body), vars);
    const responses = await Promise.all(Array.from({ length: 10 }, () => post(body)));
    expect(responses.map((response) => response.status)).toEqual(Array(10).fill(200));
    expect(await upstreamCalls(prompt)).toBe(1);
  });

  it("starts for a caller within budget while it fails for a caller who exceeds theirs", async () => {
    const body = { ...LOW, prompt: newPrompt() };
    const object = await sharedObject(body);
    const vars = { BUDGET_USD_PER_DAY_PER_CALLER: "0.02" };
    await changeEnvironment(object, vars);
    await reserveBudget(testConfig(vars), ANN, "gen_before", 20_000);
    const cost = { spent: 20_000, model: "m", images: 1 };
    await settleBudget(testConfig(vars), ANN, "gen_before", cost);
    const start = {
      key: await keyOf(body),
      request: toStoredRequest(parseImageRequest(body, testConfig(), Date.now())),
      store: true,
      keepSeconds: 600,
      maxAgeSeconds: 1000,
    };
    const [ann, bob] = await Promise.all([
      object.start({ ...start, payer: ANN }),
      object.start({ ...start, payer: BOB }),
    ]);
    expect(ann.failure).toMatchObject({ code: "budget_exceeded" });
    expect(bob).toMatchObject({ state: "queued", joined: false });
    await copied();
  });

  it("cannot be reserved if the accounts are unreachable", async () => {
    const broken = {
      idFromName: () => "id",
      get: () => ({
        reserve: () => Promise.reject(new Error("down")),
        release: () => Promise.reject(new Error("down")),
      }),
    };
    const config = testConfig({ BUDGET: broken });
    await expect(reserveBudget(config, ANN, "gen_1", 1)).rejects.toThrow("down");
  });
});

describe("GET /v1/usage", () => {
  const usage = (authorization?: string) =>
    fetchWorker("/v1/usage", environment(), {
      headers: authorization === undefined ? {} : { authorization },
    });

  it("reports images and costs by day, caller and model to the operator", async () => {
    const config = testConfig();
    await reserveBudget(config, ANN, "gen_1", 500_000);
    await settleBudget(config, ANN, "gen_1", { spent: 250_000, model: "dall-e-2", images: 2 });
    const response = await usage(ADMIN.authorization);
    expect(response.headers.get("cache-control")).toBe("no-store");
    const sums = {
      images: 2,
      hits: 0,
      collapsed: 0,
      spent_usd: 0.25,
      uncertain_usd: 0,
      saved_usd: 0,
    };
    expect(await response.json()).toEqual({
      object: "usage",
      budget_usd_per_day: 100_000,
      spent_today_usd: 0.25,
      uncertain_usd: 0,
      days: [
        {
          day: new Date().toISOString().slice(0, 10),
          ...sums,
          callers: [{ caller: "ann", model: "dall-e-2", ...sums }],
        },
      ],
    });
  });

  it.each([
    [undefined, "missing_token"],
    ["Bearer wrong", "invalid_token"],
  ])(
    "rejects the Authorization header %s with 401 and the code %s",
    async (authorization, code) => {
      const response = await usage(authorization);
      expect(response.status).toBe(401);
      expect(await codeOf(response)).toBe(code);
    },
  );
});
