import { runInDurableObject } from "cloudflare:test";
import { beforeEach, describe, expect, it } from "vitest";
import {
  releaseBudget,
  reserveBudget,
  settleBudget,
  spentToday,
  type ChargedAccounts,
} from "../../src/access/accounts.ts";
import type { Config } from "../../src/config/environment.ts";
import type { Failure } from "../../src/errors/failure.ts";
import { dayOf, nowSeconds } from "../../src/lib/clock.ts";
import {
  accountNamed,
  accountOfCaller,
  EVERYBODY,
  network,
  runAlarm,
  statesOf,
  subject,
  WEBHOOK,
  withTables,
} from "../support/worker/accounts.ts";
import { storesAnything } from "../support/worker/object-storage.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { setClockAhead, setClockToNoon } from "../support/worker/pass-time.ts";
import { bindings, testConfig } from "../support/worker/harness.ts";

quietAndFresh();
beforeEach(setClockToNoon);

const EVA = network("192.0.2.1");
const OTHER = network("192.0.2.2");
const ANN = subject("ann");
const BUDGET = { BUDGET_USD_PER_DAY: "0.001" };
const HOUR_SECONDS = 60 * 60;
const DAY_SECONDS = 24 * HOUR_SECONDS;

async function rejection(
  config: Config,
  caller: ChargedAccounts,
  amount: number,
): Promise<Failure | undefined> {
  return (await reserveBudget(config, caller, `gen_${crypto.randomUUID()}`, amount)).failure;
}

/** Settles a generation of a caller. */
async function spend(config: Config, caller: ChargedAccounts, amount: number): Promise<void> {
  const id = `gen_${crypto.randomUUID()}`;
  expect((await reserveBudget(config, caller, id, amount)).failure).toBeUndefined();
  await settleBudget(config, caller, id, { spent: amount, model: "m", images: 1 });
}

/** Begins generations of a caller and releases them, as if the upstream had rejected them. */
async function beginAndRelease(config: Config, caller: ChargedAccounts, count: number) {
  for (let begun = 0; begun < count; begun += 1) {
    const id = `gen_${crypto.randomUUID()}`;
    expect((await reserveBudget(config, caller, id, 1)).failure).toBeUndefined();
    await releaseBudget(config, caller, id);
  }
}

describe("the share of a caller", () => {
  it.each<[string, ChargedAccounts, number]>([
    ["a fifth of the day's budget for a network", EVA, 200],
    ["all of the day's budget for the subject of a token", ANN, 1000],
    ["all of the day's budget for signed webhooks", WEBHOOK, 1000],
  ])("is %s", async (_, caller, share) => {
    const config = testConfig(BUDGET);
    expect(await rejection(config, caller, share + 1)).toMatchObject({ code: "budget_exceeded" });
    expect(await rejection(config, caller, share)).toBeUndefined();
  });

  it.each<[string, ChargedAccounts, number]>([
    ["a network", EVA, 300],
    ["a subject", ANN, 300],
    ["signed webhooks, which have the whole day", WEBHOOK, 1000],
  ])("is BUDGET_USD_PER_DAY_PER_CALLER, if it is set, for %s", async (_, caller, share) => {
    const config = testConfig({ ...BUDGET, BUDGET_USD_PER_DAY_PER_CALLER: "0.0003" });
    expect(await rejection(config, caller, share + 1)).toMatchObject({ code: "budget_exceeded" });
    expect(await rejection(config, caller, share)).toBeUndefined();
  });

  it("bounds what a network holds reserved, so that another network can still start", async () => {
    const config = testConfig(BUDGET);
    for (const amount of [100, 60, 40]) {
      expect(await rejection(config, EVA, amount)).toBeUndefined();
    }
    expect(await rejection(config, EVA, 1)).toMatchObject({ reason: "reserved" });
    expect(await rejection(config, OTHER, 200)).toBeUndefined();
    expect(await spentToday(config)).toBe(400);
  });
});

describe("a reservation that is rejected", () => {
  it.each<[string, ChargedAccounts, number, string, number]>([
    ["its network's share", EVA, 201, "BUDGET_USD_PER_DAY_PER_CALLER", 0.0002],
    ["the day's budget", ANN, 1001, "BUDGET_USD_PER_DAY", 0.001],
    [
      "its token's budget",
      { ...ANN, token: { jti: "tok", budget: 50 } },
      51,
      "budget_usd",
      0.000_05,
    ],
  ])(
    "because the request alone is above %s names the limit and both sums, and no time",
    async (_, caller, amount, variable, limitUsd) => {
      expect(await rejection(testConfig(BUDGET), caller, amount)).toEqual({
        code: "budget_exceeded",
        retryAfterSeconds: undefined,
        above: { variable, requestUsd: amount / 1_000_000, limitUsd },
      });
    },
  );

  it.each<[string, ChargedAccounts]>([
    ["its caller", EVA],
    ["its token", { ...ANN, token: { jti: "tok", budget: 200 } }],
  ])("because money of %s is only reserved may be retried after seconds", async (_, caller) => {
    const config = testConfig(BUDGET);
    await reserveBudget(config, caller, "gen_open", 150);
    expect(await rejection(config, caller, 100)).toMatchObject({
      code: "rate_limit_exceeded",
      reason: "reserved",
      retryAfterSeconds: 5,
    });
    await settleBudget(config, caller, "gen_open", { spent: 100, model: "m", images: 1 });
    expect(await rejection(config, caller, 100)).toBeUndefined();
  });

  it("because the day's money is only reserved may be retried after seconds", async () => {
    const config = testConfig(BUDGET);
    await reserveBudget(config, ANN, "gen_open", 900);
    expect(await rejection(config, EVA, 101)).toMatchObject({ reason: "reserved" });
    await releaseBudget(config, ANN, "gen_open");
    expect(await rejection(config, EVA, 101)).toBeUndefined();
  });

  it("because the day's money is spent may be retried after midnight", async () => {
    const config = testConfig(BUDGET);
    await spend(config, ANN, 900);
    const seconds = DAY_SECONDS - (nowSeconds() % DAY_SECONDS);
    const failure = await rejection(config, EVA, 101);
    expect(failure).toMatchObject({ code: "budget_exceeded" });
    expect(failure).not.toHaveProperty("above");
    const { retryAfterSeconds } = failure as { retryAfterSeconds: number };
    expect(Math.abs(retryAfterSeconds - seconds)).toBeLessThanOrEqual(2);
  });

  it("counts money of a reservation that never closed as spent", async () => {
    const config = testConfig(BUDGET);
    await reserveBudget(config, EVA, "gen_lost", 150);
    setClockAhead(16 * 60);
    expect(await rejection(config, EVA, 100)).toMatchObject({ code: "budget_exceeded" });
  });

  it("by several accounts reports that of the caller, then that of the token", async () => {
    const config = testConfig({ ...BUDGET, MAX_CONCURRENT_PER_CALLER: "1" });
    const caller = { ...EVA, token: { jti: "tok", budget: 100 } };
    await spend(config, ANN, 890);
    await spend(config, caller, 100);
    // The token's budget and the day's are spent, and not the caller's share.
    expect(await rejection(config, caller, 20)).toMatchObject({
      code: "budget_exceeded",
      retryAfterSeconds: undefined,
    });
    const other = { ...EVA, token: { jti: "tok_2", budget: 100 } };
    await reserveBudget(config, other, "gen_open", 1);
    expect(await rejection(config, caller, 20)).toMatchObject({ reason: "concurrency" });
  });

  it("leaves nothing in any account, not even a table", async () => {
    const config = testConfig(BUDGET);
    const caller = { ...EVA, token: { jti: "tok", budget: 100 } };
    expect(await rejection(config, caller, 5000)).toMatchObject({ code: "budget_exceeded" });
    for (const name of [EVERYBODY, "caller/network/192.0.2.1", "token/tok"]) {
      expect(await storesAnything(accountNamed(name)), name).toBe(false);
    }
  });

  it("is released in the accounts that accepted it only", async () => {
    const config = testConfig(BUDGET);
    expect(await rejection(config, EVA, 201)).toMatchObject({ code: "budget_exceeded" });
    expect(Object.values(await statesOf(accountNamed(EVERYBODY)))).toEqual(["void"]);
    expect(await storesAnything(accountOfCaller(EVA))).toBe(false);
    expect(await spentToday(config)).toBe(0);
  });

  it("counts in no minute, even if the caller's own account accepted it", async () => {
    const config = testConfig({ ...BUDGET, GENERATIONS_PER_MINUTE: "2" });
    await spend(config, ANN, 950);
    for (let index = 0; index < 5; index += 1) {
      expect(await rejection(config, EVA, 100)).toMatchObject({ code: "budget_exceeded" });
    }
    expect(await rejection(config, EVA, 10)).toBeUndefined();
  });
});

describe("GENERATIONS_PER_MINUTE", () => {
  it.each<[string, ChargedAccounts]>([
    ["a network", EVA],
    ["a subject", ANN],
    ["signed webhooks", WEBHOOK],
  ])("limits the generations that %s begins, also those that were released", async (_, caller) => {
    const config = testConfig({ GENERATIONS_PER_MINUTE: "3" });
    await beginAndRelease(config, caller, 3);
    expect(await rejection(config, caller, 1)).toMatchObject({
      code: "rate_limit_exceeded",
      reason: "generations",
      policy: '"requests";q=300;w=60, "generations";q=3;w=60',
    });
    expect(await rejection(config, OTHER, 1)).toBeUndefined();
  });

  it("is rejected with the exact seconds until another generation may begin", async () => {
    const config = testConfig({ GENERATIONS_PER_MINUTE: "2" });
    await beginAndRelease(config, EVA, 1);
    setClockAhead(20);
    await beginAndRelease(config, EVA, 1);
    setClockAhead(15);
    const failure = await rejection(config, EVA, 1);
    expect(failure).toMatchObject({ reason: "generations" });
    const { retryAfterSeconds } = failure as { retryAfterSeconds: number };
    expect(retryAfterSeconds).toBeGreaterThanOrEqual(23);
    expect(retryAfterSeconds).toBeLessThanOrEqual(25);
    setClockAhead(retryAfterSeconds);
    expect(await rejection(config, EVA, 1)).toBeUndefined();
    expect(await rejection(config, EVA, 1)).toMatchObject({ reason: "generations" });
  });

  it("is exact for a hundred reservations at the same time", async () => {
    const config = testConfig({ GENERATIONS_PER_MINUTE: "20" });
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, () => rejection(config, EVA, 1)),
    );
    expect(outcomes.filter((failure) => failure === undefined)).toHaveLength(20);
  });
});

describe("a released id", () => {
  it.each([
    ["that was reserved", true],
    ["that the accounts do not know", false],
  ])("%s cannot be reserved again for an hour", async (_, isKnown) => {
    const config = testConfig();
    if (isKnown) await reserveBudget(config, EVA, "gen_1", 10);
    setClockAhead(10 * 60);
    await releaseBudget(config, EVA, "gen_1");
    setClockAhead(HOUR_SECONDS - 60);
    await runAlarm(accountOfCaller(EVA));
    await expect(reserveBudget(config, EVA, "gen_1", 10)).rejects.toThrow("closed");
    expect(await spentToday(config)).toBe(0);
    setClockAhead(120);
    await runAlarm(accountOfCaller(EVA));
    await runAlarm(accountNamed(EVERYBODY));
    expect(await reserveBudget(config, EVA, "gen_1", 10)).toEqual({ amount: 10 });
  });

  it("is deleted with its account, if the account has nothing else", async () => {
    const config = testConfig();
    await beginAndRelease(config, EVA, 3);
    await releaseBudget(config, EVA, "gen_unknown");
    expect(await storesAnything(accountOfCaller(EVA))).toBe(true);
    setClockAhead(HOUR_SECONDS + 1);
    for (const account of [accountOfCaller(EVA), accountNamed(EVERYBODY)]) {
      await runAlarm(account);
      expect(await storesAnything(account)).toBe(false);
    }
    await spend(config, EVA, 10);
    expect(await accountOfCaller(EVA).spentToday()).toBe(10);
  });

  it("keeps an account that has spent money, and its sum", async () => {
    const config = testConfig();
    const caller = { ...EVA, token: { jti: "tok", budget: 100 } };
    await spend(config, caller, 60);
    await beginAndRelease(config, caller, 1);
    setClockAhead(32 * DAY_SECONDS);
    for (const name of ["token/tok", "caller/network/192.0.2.1", EVERYBODY]) {
      await runAlarm(accountNamed(name));
    }
    expect(await storesAnything(accountNamed("caller/network/192.0.2.1"))).toBe(false);
    expect(await statesOf(accountNamed("token/tok"))).toEqual({});
    // The budget of a token is for its lifetime.
    expect(await rejection(config, caller, 41)).toMatchObject({ code: "budget_exceeded" });
  });

  it("is deleted among thousands, some at a time", async () => {
    const account = accountOfCaller(EVA);
    await releaseBudget(testConfig(), EVA, "gen_first");
    await withTables(account, (tables) => {
      for (let index = 0; index < 3000; index += 1) {
        tables.write(
          "entry",
          "INSERT INTO entry (id, day, amount, state, at) VALUES (?, '2026-11-01', 0, 'released', 1)",
          `gen_${index}`,
        );
      }
    });
    const left: number[] = [];
    for (let run = 0; run < 6; run += 1) {
      await runInDurableObject(account, (instance) => instance.alarm());
      left.push(Object.keys(await statesOf(account)).length);
    }
    expect(left[0]).toBe(1001);
    expect(left.at(-1)).toBe(1);
  });
});

describe("MAX_BLOCKS_PER_CALLER_PER_DAY", () => {
  const config = () => testConfig({ MAX_BLOCKS_PER_CALLER_PER_DAY: "2" });

  async function block(caller: ChargedAccounts): Promise<void> {
    const id = `gen_${crypto.randomUUID()}`;
    expect((await reserveBudget(config(), caller, id, 1)).failure).toBeUndefined();
    await releaseBudget(config(), caller, id, { isModerationBlock: true });
    // A repetition counts once.
    await releaseBudget(config(), caller, id, { isModerationBlock: true });
  }

  it.each<[string, ChargedAccounts]>([
    ["a network", EVA],
    ["a subject", ANN],
    ["signed webhooks", WEBHOOK],
  ])("stops %s until midnight UTC, and no other caller", async (_, caller) => {
    await block(caller);
    expect(await rejection(config(), caller, 1)).toBeUndefined();
    await block(caller);
    const failure = await rejection(config(), caller, 1);
    expect(failure).toMatchObject({ code: "rate_limit_exceeded", reason: "blocks" });
    expect(await rejection(config(), OTHER, 1)).toBeUndefined();
    const { retryAfterSeconds } = failure as { retryAfterSeconds: number };
    expect(dayOf(nowSeconds() + retryAfterSeconds - 5)).toBe(dayOf(nowSeconds()));
    setClockAhead(retryAfterSeconds);
    expect(await rejection(config(), caller, 1)).toBeUndefined();
  });

  it("survives the deletion of released ids", async () => {
    await block(EVA);
    await block(EVA);
    setClockAhead(HOUR_SECONDS + 1);
    await runAlarm(accountOfCaller(EVA));
    expect(await rejection(config(), EVA, 1)).toMatchObject({ reason: "blocks" });
  });
});

describe("the alarm of an account", () => {
  it("is set for the time at which a released id expires", async () => {
    await beginAndRelease(testConfig(), EVA, 1);
    const alarm = await runInDurableObject(accountOfCaller(EVA), (_, { storage }) =>
      storage.getAlarm(),
    );
    const inSeconds = (alarm ?? 0) / 1000 - nowSeconds();
    expect(Math.abs(inSeconds - HOUR_SECONDS)).toBeLessThanOrEqual(2);
  });

  it("does not run again for ten minutes if the account has more rows to delete later", async () => {
    const config = testConfig();
    await beginAndRelease(config, EVA, 1);
    setClockAhead(HOUR_SECONDS - 10);
    await beginAndRelease(config, EVA, 1);
    setClockAhead(11);
    await runAlarm(accountOfCaller(EVA));
    const alarm = await runInDurableObject(accountOfCaller(EVA), (_, { storage }) =>
      storage.getAlarm(),
    );
    const inSeconds = (alarm ?? 0) / 1000 - nowSeconds();
    expect(inSeconds).toBeGreaterThanOrEqual(10 * 60 - 2);
    expect(inSeconds).toBeLessThanOrEqual(HOUR_SECONDS);
  });
});

describe("a reservation whose answer is lost", () => {
  /** Returns accounts of which one reserves, but does not answer. */
  function silent(name: string): DurableObjectNamespace {
    const accounts = bindings().BUDGET;
    return {
      idFromName: (each: string) => accounts.idFromName(each),
      get(id: DurableObjectId) {
        const account = accounts.get(id);
        return {
          release: (...args: Parameters<typeof account.release>) => account.release(...args),
          async reserve(...args: Parameters<typeof account.reserve>) {
            const reserved = await account.reserve(...args);
            if (id.equals(accounts.idFromName(name))) throw new Error("lost");
            return reserved;
          },
        };
      },
    } as unknown as DurableObjectNamespace;
  }

  it.each(["caller/network/192.0.2.1", "token/tok", EVERYBODY])(
    "starts nothing, and is released in every account (%s)",
    async (name) => {
      const caller = { ...EVA, token: { jti: "tok", budget: 100 } };
      const config = testConfig({ BUDGET: silent(name) });
      await expect(reserveBudget(config, caller, "gen_1", 10)).rejects.toThrow("unreachable");
      for (const each of ["caller/network/192.0.2.1", "token/tok", EVERYBODY]) {
        expect(await statesOf(accountNamed(each))).toEqual({ gen_1: "void" });
      }
      expect(await spentToday(testConfig())).toBe(0);
    },
  );
});
