import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import {
  releaseBudget,
  releaseUncertain,
  reserveBudget,
  settleBudget,
  spentToday,
  usageOf,
  type ChargedAccounts,
} from "../../src/access/accounts.ts";
import type { Budget } from "../../src/access/budget.ts";
import type { Config } from "../../src/config/environment.ts";
import { DAY_SECONDS, dayOf, nowSeconds } from "../../src/lib/clock.ts";
import { ModelGateway } from "../support/worker/account-model.ts";
import {
  accountsApart,
  network,
  runAlarm,
  statesOf,
  subject,
  WEBHOOK,
  withLedgerOf,
  withTables,
} from "../support/worker/accounts.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { testConfig } from "../support/worker/harness.ts";
import { storesAnything } from "../support/worker/object-storage.ts";
import { freezeClockAtNoon } from "../support/worker/pass-time.ts";

quietAndFresh();
let passSeconds: (seconds: number) => void;
beforeEach(() => {
  passSeconds = freezeClockAtNoon();
});

/**
 * Returns callers. Some have tokens: one that expired after a job was submitted, one that expires within months,
 * and one whose expiry an earlier version did not store.
 */
function callersAt(now: number): readonly ChargedAccounts[] {
  return [
    network("192.0.2.1"),
    network("192.0.2.2"),
    { ...network("192.0.2.1"), token: { jti: "visitor", budget: 60, exp: now - 5 * DAY_SECONDS } },
    { ...subject("ann"), token: { jti: "ann", budget: 120, exp: now + 60 * DAY_SECONDS } },
    { ...subject("ann"), token: { jti: "stored", budget: 120 } },
    subject("ann"),
    WEBHOOK,
  ];
}

const CALLERS = callersAt(0).length;

const ROW = "some parameters";
const BOUND = { row: ROW, tokens: 10, microPerToken: 1 };

const step = fc.record({
  kind: fc.constantFrom(
    "reserve" as const,
    "reserve" as const,
    "reserve" as const,
    "settle" as const,
    "settle uncertain" as const,
    "release" as const,
    "block" as const,
    "release uncertain" as const,
    "time" as const,
    "alarms" as const,
  ),
  caller: fc.nat(CALLERS - 1),
  id: fc.nat(3),
  amount: fc.nat(80),
  isBound: fc.boolean(),
  tokens: fc.nat(40),
});
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

const limits = fc.record({
  share: fc.integer({ min: 0, max: 60 }),
  maxOpen: fc.integer({ min: 1, max: 5 }),
  perMinute: fc.integer({ min: 1, max: 6 }),
  blocks: fc.integer({ min: 1, max: 3 }),
});

/** Returns the reserved amount, or the reason of the failure. */
async function reserved(
  config: Config,
  caller: ChargedAccounts,
  id: string,
  { amount, isBound }: Step,
): Promise<number | string> {
  try {
    const bound = isBound ? BOUND : undefined;
    const { failure, amount: reservedAmount } = await reserveBudget(
      config,
      caller,
      id,
      amount,
      bound,
    );
    if (failure === undefined) return reservedAmount;
    return "reason" in failure ? failure.reason : failure.code;
  } catch {
    return "closed";
  }
}

/** Performs a step on the accounts and on the model, and expects the same result. */
async function expectSame(
  each: Step,
  callers: readonly ChargedAccounts[],
  config: Config,
  model: ModelGateway,
): Promise<void> {
  const caller = callers[each.caller] ?? WEBHOOK;
  // An id belongs to one caller.
  const id = `gen_${each.caller}_${each.id}`;
  const { kind, amount, tokens } = each;
  if (kind === "reserve") {
    const bound = each.isBound ? BOUND : undefined;
    const expected = model.reserve(caller, id, amount, bound, nowSeconds());
    expect(await reserved(config, caller, id, each)).toBe(expected);
  } else if (kind === "settle" || kind === "settle uncertain") {
    const open = model.everybody.entries.get(id);
    const isUncertain = kind === "settle uncertain";
    // A cost never exceeds its reservation, which is an upper bound.
    const spent = Math.min(amount, open?.amount ?? amount);
    model.settle(caller, id, spent, tokens, isUncertain);
    const reported = { row: ROW, tokens };
    await settleBudget(config, caller, id, { spent, model: "m", images: 0, reported, isUncertain });
  } else if (kind === "release" || kind === "block") {
    const isModerationBlock = kind === "block";
    model.release(caller, id, isModerationBlock, nowSeconds());
    await releaseBudget(config, caller, id, { isModerationBlock });
  } else if (kind === "release uncertain") {
    const { generations, hasMore } = await releaseUncertain(config, undefined);
    expect([generations, hasMore]).toEqual([model.releaseUncertain(), false]);
  } else if (kind === "time") {
    passSeconds(amount / 2);
  } else {
    await runAlarms(config, model);
  }
}

/** Runs the alarms of all accounts. */
async function runAlarms(config: Config, model: ModelGateway): Promise<void> {
  for (const name of model.accounts.keys()) await runAlarm(accountOf(name, config));
}

/** Returns the account with a name of the model. That of a token also has its budget and expiry. */
function accountOf(name: string, { budgets }: Config): DurableObjectStub<Budget> {
  return budgets.get(budgets.idFromName(name.split(" ")[0] ?? name));
}

/** Returns the spent and reserved amount of a day, or of a lifetime. */
function totalOf(account: DurableObjectStub<Budget>, window: string): Promise<number> {
  return withLedgerOf(account, (ledger) => ledger.spent(window));
}

/** Expects the same reservations and sums in every account, and no sum above its budget. */
async function expectSameState(config: Config, model: ModelGateway): Promise<void> {
  for (const [name, account] of model.accounts) {
    const stub = accountOf(name, config);
    const states = [...account.entries].map(([id, { state }]) => [id, state] as const);
    expect(await statesOf(stub), name).toEqual(Object.fromEntries(states));
    const day = name.startsWith("token/") ? "life" : dayOf(nowSeconds());
    expect(await totalOf(stub, day), name).toBe(account.sum());
    expect(account.sum(), name).toBeLessThanOrEqual(account.budget);
  }
  const { entries } = model.everybody;
  const settled = [...entries.values()].filter(({ state }) => state === "settled");
  const amountOf = (id: string) => entries.get(id)?.amount ?? 0;
  const { rows } = await usageOf(config);
  expect(sumOf(rows.map(({ spent }) => spent))).toBe(sumOf(settled.map(({ amount }) => amount)));
  expect(sumOf(rows.map(({ uncertain = 0 }) => uncertain))).toBe(
    sumOf([...model.uncertain.keys()].map((id) => amountOf(id))),
  );
}

/**
 * Passes time until everything has expired. Expects that what a token has spent counts as long as it is kept, and
 * that nothing is stored in the end.
 */
async function expectCleanup(config: Config, model: ModelGateway): Promise<void> {
  for (const days of [1, 28, 31, 28, 290, 32]) {
    passSeconds(days * DAY_SECONDS);
    await runAlarms(config, model);
    for (const [name, account] of model.accounts) {
      if (!name.startsWith("token/")) continue;
      const spent = nowSeconds() < account.keptUntil ? account.sum() : 0;
      expect(await totalOf(accountOf(name, config), "life"), `${name} after ${days} days`).toBe(
        spent,
      );
    }
  }
  for (const name of model.accounts.keys()) {
    expect(await storesAnything(accountOf(name, config)), name).toBe(false);
  }
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

describe("the accounts", () => {
  it("match a model on any sequence of steps, never exceed a budget, and store nothing in the end", async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        limits,
        fc.boolean(),
        fc.array(step, { minLength: 5, maxLength: 40 }),
        async ({ share, maxOpen, perMinute, blocks }, isDefault, steps) => {
          run += 1;
          const day = 200;
          const shares = isDefault
            ? { network: day / 5, subject: day }
            : { network: share, subject: share };
          const model = new ModelGateway({ day, shares, maxOpen, perMinute, blocks });
          const usd = (micro: number) => (micro / 1_000_000).toFixed(6);
          const config = testConfig({
            BUDGET: accountsApart(`run ${run}`),
            BUDGET_USD_PER_DAY: usd(day),
            BUDGET_USD_PER_DAY_PER_CALLER: isDefault ? undefined : usd(share),
            MAX_CONCURRENT_PER_CALLER: String(maxOpen),
            GENERATIONS_PER_MINUTE: String(perMinute),
            MAX_BLOCKS_PER_CALLER_PER_DAY: String(blocks),
          });
          const callers = callersAt(nowSeconds());
          for (const each of steps) await expectSame(each, callers, config, model);
          await expectSameState(config, model);
          await expectCleanup(config, model);
        },
      ),
      { numRuns: 20 },
    );
  }, 90_000);
});

describe("a thousand spends of a hundred callers at the same time", () => {
  it("never exceed the day's budget nor a share by a micro-dollar", async () => {
    const config = testConfig({
      BUDGET_USD_PER_DAY: "0.1",
      BUDGET_USD_PER_DAY_PER_CALLER: "0.0015",
    });
    const callers = Array.from({ length: 100 }, (_, index) => network(`10.0.0.${index}`));
    const random = fc.sample(
      fc.record({
        amount: fc.integer({ min: 1, max: 600 }),
        end: fc.nat(3),
        cost: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      1000,
    );
    const sampled: number[] = [];
    const reasons = new Set<string>();
    await Promise.all(
      random.map(async ({ amount, end, cost }, index) => {
        const caller = callers[index % 100] ?? WEBHOOK;
        const id = `gen_${index}`;
        const { failure } = await reserveBudget(config, caller, id, amount);
        if (index % 20 === 0) sampled.push(await spentToday(config));
        if (failure !== undefined) {
          reasons.add("reason" in failure ? failure.reason : failure.code);
          return;
        }
        const spent = Math.floor(amount * cost);
        if (end === 0) await releaseBudget(config, caller, id);
        else if (end < 3) {
          await settleBudget(config, caller, id, {
            spent,
            model: "m",
            images: 1,
            isUncertain: end === 1,
          });
        }
      }),
    );
    const { budgets } = config;
    const shares = await Promise.all(
      callers.map(({ account }) =>
        budgets.get(budgets.idFromName(`caller/${account}`)).spentToday(),
      ),
    );
    const spent = await spentToday(config);
    expect(Math.max(...shares)).toBeLessThanOrEqual(1500);
    expect(Math.max(...sampled, spent)).toBeLessThanOrEqual(100_000);
    expect(spent).toBe(sumOf(shares));
    expect(reasons.size).toBeGreaterThan(0);
    const { rows } = await usageOf(config);
    const settled = await withTables(budgets.get(budgets.idFromName("everybody")), (tables) =>
      tables.rows<{ sum: number }>(
        "entry",
        "SELECT SUM(amount) AS sum FROM entry WHERE state = 'settled'",
      ),
    );
    expect(sumOf(rows.map((row) => row.spent))).toBe(settled[0]?.sum);
  }, 90_000);
});
