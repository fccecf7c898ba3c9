import { runInDurableObject } from "cloudflare:test";
import { beforeEach, describe, expect, it } from "vitest";
import {
  releaseBudget,
  reserveBudget,
  settleBudget,
  spentToday,
  usageOf,
} from "../../src/access/accounts.ts";
import { claimOpenJobs, lowerOpenJobs } from "../../src/access/job-limit.ts";
import { dayOf, nowSeconds } from "../../src/lib/clock.ts";
import {
  accountNamed,
  EVERYBODY,
  runAlarm,
  statesOf,
  subject,
  withTables,
} from "../support/worker/accounts.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { testConfig } from "../support/worker/harness.ts";
import { freezeClockAtNoon } from "../support/worker/pass-time.ts";

quietAndFresh();
let passSeconds: (seconds: number) => void;
beforeEach(() => {
  passSeconds = freezeClockAtNoon();
});

const ANN = subject("ann");
const DAY_SECONDS = 24 * 60 * 60;

/** The statements of version 0.1.0 when it opens an account. */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS entry (
    id TEXT PRIMARY KEY, day TEXT NOT NULL, amount INTEGER NOT NULL,
    state TEXT NOT NULL, at INTEGER NOT NULL
  );
  CREATE INDEX IF NOT EXISTS entry_state ON entry (state, at);
  CREATE TABLE IF NOT EXISTS total (day TEXT PRIMARY KEY, amount INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS usage (
    day TEXT NOT NULL, caller TEXT NOT NULL, model TEXT NOT NULL,
    images INTEGER NOT NULL, hits INTEGER NOT NULL, collapsed INTEGER NOT NULL,
    spent INTEGER NOT NULL, saved INTEGER NOT NULL,
    PRIMARY KEY (day, caller, model)
  );`;

const INSERT_ENTRY = "INSERT INTO entry (id, day, amount, state, at) VALUES (?, ?, ?, ?, ?)";
const ADD_TO_TOTAL = `INSERT INTO total (day, amount) VALUES (?, ?)
  ON CONFLICT (day) DO UPDATE SET amount = amount + excluded.amount`;

/** Runs statements in the storage of an account, as version 0.1.0 does. */
function withOlder<Result>(name: string, run: (sql: SqlStorage) => Result): Promise<Result> {
  return runInDurableObject(accountNamed(name), (_, { storage }) => {
    storage.sql.exec(SCHEMA);
    return run(storage.sql);
  });
}

/** Stores the accounts of Ann and of the gateway as version 0.1.0 does: 60 spent, 30 reserved. */
async function storeOlderAccounts(): Promise<void> {
  const now = nowSeconds();
  const day = dayOf(now);
  for (const name of ["caller/subject/ann", EVERYBODY]) {
    await withOlder(name, (sql) => {
      sql.exec(INSERT_ENTRY, "gen_settled", day, 60, "settled", now - 300);
      sql.exec(INSERT_ENTRY, "gen_open", day, 30, "open", now - 10);
      sql.exec(INSERT_ENTRY, "gen_released", day, 0, "released", now - 20);
      sql.exec(INSERT_ENTRY, "gen_old", "2026-01-01", 9, "settled", now - 40 * DAY_SECONDS);
      sql.exec(ADD_TO_TOTAL, day, 90);
      sql.exec(ADD_TO_TOTAL, "2026-01-01", 9);
      if (name === EVERYBODY) {
        sql.exec(
          "INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
          day,
          "ann",
          "m",
          1,
          2,
          3,
          60,
          5,
        );
      }
    });
  }
}

describe("an account of version 0.1.0", () => {
  it("keeps its spent and its reserved amount apart", async () => {
    await storeOlderAccounts();
    const config = testConfig({ BUDGET_USD_PER_DAY: "0.0001" });
    expect(await spentToday(config)).toBe(90);
    // 60 + 40 are covered, once the open 30 return.
    expect((await reserveBudget(config, ANN, "gen_1", 40)).failure).toMatchObject({
      reason: "reserved",
    });
    expect((await reserveBudget(config, ANN, "gen_2", 41)).failure).toMatchObject({
      code: "budget_exceeded",
      retryAfterSeconds: 12 * 60 * 60,
    });
    await releaseBudget(config, ANN, "gen_open");
    expect(await reserveBudget(config, ANN, "gen_3", 40)).toEqual({ amount: 40 });
  });

  it("counts its reservations of the last minute, and refuses its closed ids", async () => {
    await storeOlderAccounts();
    const config = testConfig({ GENERATIONS_PER_MINUTE: "2" });
    expect((await reserveBudget(config, ANN, "gen_1", 1)).failure).toMatchObject({
      reason: "generations",
      retryAfterSeconds: 40,
    });
    await expect(reserveBudget(config, ANN, "gen_settled", 1)).rejects.toThrow("closed");
    await expect(reserveBudget(config, ANN, "gen_released", 1)).rejects.toThrow("closed");
  });

  it("settles its open reservations, and its usage continues", async () => {
    await storeOlderAccounts();
    const config = testConfig();
    const cost = { spent: 20, model: "m", images: 1 };
    await settleBudget(config, ANN, "gen_open", cost);
    await settleBudget(config, ANN, "gen_open", cost);
    const { rows, spentToday: spent } = await usageOf(config);
    expect(spent).toBe(80);
    expect(rows).toMatchObject([{ caller: "ann", images: 2, hits: 2, collapsed: 3, spent: 80 }]);
  });

  it("is cleaned up by its alarm: old entries and released ids, with the total of their day", async () => {
    await storeOlderAccounts();
    const config = testConfig();
    await reserveBudget(config, ANN, "gen_1", 1);
    // The first reservation of a day deletes nothing.
    expect(Object.keys(await statesOf(accountNamed(EVERYBODY)))).toContain("gen_old");
    passSeconds(60 * 60);
    await runAlarm(accountNamed(EVERYBODY));
    expect(await statesOf(accountNamed(EVERYBODY))).toEqual({
      gen_1: "open",
      gen_open: "open",
      gen_settled: "settled",
    });
    expect(await spentToday(config)).toBe(91);
    const days = await withTables(accountNamed(EVERYBODY), (tables) =>
      tables.rows<{ day: string }>("total", "SELECT day FROM total"),
    );
    expect(days).toEqual([{ day: dayOf(nowSeconds()) }]);
  });
});

describe("an account of version 0.1.0 that has only counted jobs since", () => {
  it("is cleaned up by its alarm", async () => {
    await storeOlderAccounts();
    const config = testConfig();
    await claimOpenJobs(config, ANN.account, "a", 1);
    await lowerOpenJobs(config, ANN.account, "a", 0);
    const account = accountNamed("caller/subject/ann");
    await runAlarm(account);
    expect(Object.keys(await statesOf(account))).toEqual([
      "gen_open",
      "gen_released",
      "gen_settled",
    ]);
  });
});

describe("after a rollback, version 0.1.0", () => {
  it("reads the sums and states of this version, and continues to write", async () => {
    const config = testConfig();
    const unknown = { spent: 50, model: "m", images: 0, isUncertain: true };
    await reserveBudget(config, ANN, "gen_open", 30);
    await reserveBudget(config, ANN, "gen_settled", 50);
    await settleBudget(config, ANN, "gen_settled", unknown);
    await releaseBudget(config, ANN, "gen_released");
    const now = nowSeconds();
    const day = dayOf(now);
    const read = await withOlder(EVERYBODY, (sql) => {
      const stateOf = (id: string) =>
        sql.exec("SELECT day, amount, state FROM entry WHERE id = ?", id).toArray();
      // Version 0.1.0 reserves, settles and counts with these statements.
      sql.exec(INSERT_ENTRY, "gen_older", day, 7, "open", now);
      sql.exec(ADD_TO_TOTAL, day, 7);
      sql.exec("UPDATE entry SET state = ?, amount = ? WHERE id = ?", "settled", 20, "gen_open");
      sql.exec(ADD_TO_TOTAL, day, -10);
      sql.exec(
        `INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (day, caller, model) DO UPDATE SET spent = spent + excluded.spent`,
        day,
        "ann",
        "m",
        1,
        0,
        0,
        20,
        0,
      );
      return {
        total: sql.exec("SELECT amount FROM total WHERE day = ?", day).toArray(),
        settled: stateOf("gen_settled"),
        isReleasedClosed: stateOf("gen_released").every(({ state }) => state !== "open"),
        open: sql
          .exec("SELECT COUNT(*) AS count FROM entry WHERE state = 'open' AND at > ?", now - 900)
          .toArray(),
      };
    });
    expect(read).toEqual({
      total: [{ amount: 77 }],
      settled: [{ day, amount: 50, state: "settled" }],
      isReleasedClosed: true,
      open: [{ count: 1 }],
    });
    // And this version continues with what the older one wrote.
    await settleBudget(config, ANN, "gen_older", { spent: 7, model: "m", images: 1 });
    const { rows, spentToday: spent } = await usageOf(config);
    expect(spent).toBe(77);
    expect(rows).toMatchObject([{ spent: 77, uncertain: 50 }]);
  });
});

describe("an account of version 0.1.0 that is still running", () => {
  it("answers with the outcome alone, and each outcome is understood", async () => {
    const answering = (outcome: string) => ({
      idFromName: (name: string) => name,
      get: () => ({
        reserve: () => Promise.resolve(outcome),
        release: () => Promise.resolve(),
      }),
    });
    const reservation = (outcome: string) =>
      reserveBudget(testConfig({ BUDGET: answering(outcome) }), ANN, "gen_1", 1);
    expect(await reservation("reserved")).toEqual({ amount: 1 });
    expect((await reservation("busy")).failure).toMatchObject({ reason: "concurrency" });
    expect((await reservation("exceeded")).failure).toMatchObject({ code: "budget_exceeded" });
  });

  it("receives an outcome alone from this version, if it sends no limits that it does not know", async () => {
    const account = accountNamed("caller/subject/ann");
    const limits = { budget: 100, window: "day", maxOpen: 1 } as const;
    expect(await account.reserve("gen_1", 60, limits)).toBe("reserved");
    expect(await account.reserve("gen_2", 10, limits)).toBe("busy");
    await account.settle("gen_1", 60);
    expect(await account.reserve("gen_3", 41, limits)).toBe("exceeded");
    await account.release("gen_3");
    expect(await account.reserve("gen_4", 40, limits)).toBe("reserved");
  });
});
