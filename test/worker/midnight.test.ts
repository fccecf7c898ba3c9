import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import {
  releaseBudget,
  releaseUncertain,
  reserveBudget,
  settleBudget,
  usageOf,
  type ChargedAccounts,
} from "../../src/access/accounts.ts";
import { dayOf, nowSeconds } from "../../src/lib/clock.ts";
import { newPrompt, SMALL } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import {
  accountNamed,
  accountOfCaller,
  EVERYBODY,
  network,
  withTables,
} from "../support/worker/accounts.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { post, sharedObject, testConfig, upstreamCalls } from "../support/worker/harness.ts";
import { freezeClockAtNoon, setClockToNoon, setClockAhead } from "../support/worker/pass-time.ts";

quietAndFresh({ expectsErrors: true });

const HALF_DAY_SECONDS = 12 * 60 * 60;
const EVA: ChargedAccounts = {
  ...network("192.0.2.1"),
  token: { jti: "tok", budget: 1_000_000 },
};

/** Returns the spent and reserved amounts of an account, and its moderation blocks, by day. */
async function sumsOf(name: string): Promise<Record<string, number>> {
  return withTables(accountNamed(name), (tables) => {
    const totals = tables.rows<{ day: string; value: number }>(
      "total",
      "SELECT day, amount AS value FROM total WHERE amount <> 0",
    );
    const blocks = tables.rows<{ day: string; value: number }>(
      "block",
      "SELECT 'blocks ' || day AS day, count AS value FROM block",
    );
    return Object.fromEntries([...totals, ...blocks].map(({ day, value }) => [day, value]));
  });
}

describe("a reservation that ends after midnight", () => {
  it("belongs to the day on which it was made, in every account and in the usage", async () => {
    const pass = freezeClockAtNoon();
    const config = testConfig();
    const day = dayOf(nowSeconds());
    pass(HALF_DAY_SECONDS - 1);
    for (const id of ["settled", "uncertain", "blocked", "open"]) {
      expect(await reserveBudget(config, EVA, id, 100)).toEqual({ amount: 100 });
    }
    pass(2);
    const next = dayOf(nowSeconds());
    expect(next > day).toBe(true);
    await settleBudget(config, EVA, "settled", { spent: 70, model: "m", images: 1 });
    const unknown = { spent: 100, model: "m", images: 0, isUncertain: true };
    await settleBudget(config, EVA, "uncertain", unknown);
    await releaseBudget(config, EVA, "blocked", { isModerationBlock: true });
    await reserveBudget(config, EVA, "of the next day", 5);
    await settleBudget(config, EVA, "of the next day", { spent: 5, model: "m", images: 1 });

    expect(await sumsOf(EVERYBODY)).toEqual({ [day]: 270, [next]: 5 });
    expect(await sumsOf(`caller/${EVA.account}`)).toEqual({
      [day]: 270,
      [next]: 5,
      [`blocks ${day}`]: 1,
    });
    expect(await sumsOf("token/tok")).toEqual({ life: 275 });
    const rows = async () =>
      (await usageOf(config)).rows.map((row) => [row.day, row.spent, row.uncertain ?? 0]);
    expect(await rows()).toEqual([
      [next, 5, 0],
      [day, 170, 100],
    ]);
    await releaseBudget(config, EVA, "open");
    expect(await releaseUncertain(config, day)).toMatchObject({ generations: 1, amount: 100 });
    expect(await sumsOf(EVERYBODY)).toEqual({ [day]: 70, [next]: 5 });
    expect(await sumsOf("token/tok")).toEqual({ life: 75 });
    expect(await rows()).toEqual([
      [next, 5, 0],
      [day, 70, 0],
    ]);
  });

  it("has one day in all accounts, even if midnight is between their clocks", async () => {
    const pass = freezeClockAtNoon();
    pass(HALF_DAY_SECONDS - 1);
    const day = dayOf(nowSeconds());
    const config = testConfig();
    const { budgets } = config;
    // Midnight passes after the reservation has begun, before any account receives it.
    const late = {
      idFromName: (name: string) => budgets.idFromName(name),
      get(id: DurableObjectId) {
        if (dayOf(nowSeconds()) === day) pass(2);
        return budgets.get(id);
      },
    };
    await reserveBudget(testConfig({ BUDGET: late }), EVA, "gen_1", 10);
    expect(await sumsOf(EVERYBODY)).toEqual({ [day]: 10 });
    expect(await sumsOf(`caller/${EVA.account}`)).toEqual({ [day]: 10 });
  });

  it("does not use up the next day's share, blocks or budget", async () => {
    const pass = freezeClockAtNoon();
    const config = testConfig({
      BUDGET_USD_PER_DAY: "0.001",
      MAX_BLOCKS_PER_CALLER_PER_DAY: "1",
      MAX_CONCURRENT_PER_CALLER: "1000",
    });
    pass(HALF_DAY_SECONDS - 1);
    await reserveBudget(config, EVA, "gen_1", 100);
    await reserveBudget(config, EVA, "gen_2", 100);
    pass(1);
    await releaseBudget(config, EVA, "gen_1", { isModerationBlock: true });
    expect(await reserveBudget(config, EVA, "gen_3", 200)).toEqual({ amount: 200 });
  });
});

/** Runs the alarm of a generation once it is queued: the platform's clock is behind that of the test. */
async function startAlarm(body: object): Promise<{ done: Promise<void> }> {
  const object = await sharedObject(body);
  await eventually(async () => {
    const alarm = await runInDurableObject(object, (_, { storage }) => storage.getAlarm());
    expect(alarm).not.toBeNull();
  });
  return { done: runInDurableObject(object, (instance) => instance.alarm()) };
}

describe("generations in progress at midnight", () => {
  it("have their charges and their usage on the day on which they began", async () => {
    setClockToNoon();
    setClockAhead(HALF_DAY_SECONDS - 120);
    const day = dayOf(nowSeconds());
    const prompts = [
      "[upstream delay=1500]",
      "[upstream answer=html delay=1500]",
      "[upstream status=400 code=moderation_blocked delay=1500]",
    ].map((directives) => newPrompt(directives));
    const bodies = prompts.map((prompt) => ({ ...SMALL, prompt }));
    const responses = bodies.map((body) => post(body));
    const alarms = await Promise.all(bodies.map((body) => startAlarm(body)));
    await eventually(async () => {
      for (const prompt of prompts) expect(await upstreamCalls(prompt)).toBe(1);
    });
    setClockAhead(240);
    await Promise.all(alarms.map(({ done }) => done));
    const statuses = (await Promise.all(responses)).map(({ status }) => status);
    expect(statuses).toEqual([200, 502, 400]);
    await eventually(async () => {
      const { rows, spentToday } = await usageOf(testConfig());
      expect(spentToday).toBe(0);
      expect(rows).toMatchObject([{ day, images: 1 }]);
      const { spent = 0, uncertain = 0 } = rows[0] ?? {};
      expect(uncertain).toBeGreaterThan(0);
      expect(await sumsOf(EVERYBODY)).toEqual({ [day]: spent });
      expect(await sumsOf("caller/network/local")).toEqual({
        [day]: spent,
        [`blocks ${day}`]: 1,
      });
    });
    expect(await accountOfCaller(network("local")).spentToday()).toBe(0);
  });
});
