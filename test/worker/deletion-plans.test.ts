import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { releaseBudget, reserveBudget, settleBudget } from "../../src/access/accounts.ts";
import { ACCOUNT_RETENTIONS } from "../../src/access/expiry.ts";
import { claimOpenJobs } from "../../src/access/job-limit.ts";
import { deleteExpired, type Retention } from "../../src/access/retention.ts";
import { REVOCATION_RETENTIONS, revoke } from "../../src/access/revocation.ts";
import { Tables } from "../../src/access/tables.ts";
import { countUsage } from "../../src/access/usage-counts.ts";
import { nowSeconds } from "../../src/lib/clock.ts";
import { accountNamed, EVERYBODY, runAlarm, subject } from "../support/worker/accounts.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { bindings, testConfig } from "../support/worker/harness.ts";
import { storingObjects } from "../support/worker/object-storage.ts";
import { skipWaits } from "../support/worker/pass-time.ts";

quietAndFresh();

const sources = import.meta.glob<string>("../../src/access/*.ts", {
  eager: true,
  import: "default",
  query: "?raw",
});

/** The rows that a deletion names. */
interface Deletion {
  table: string;
  condition: string;
}

/** Returns the deletions that the source of the accounts and revocations names in its text. */
function deletionsInSource(): Deletion[] {
  return Object.values(sources).flatMap((source) =>
    [...source.matchAll(/\.deleteRows\(\s*"(?<table>\w+)",\s*"(?<condition>[^"]+)"/g)].map(
      ({ groups = {} }) => ({
        table: String(groups["table"]),
        condition: String(groups["condition"]),
      }),
    ),
  );
}

/** Returns the deletions by time of retentions. */
function deletionsOf(retentions: readonly Retention[]): Deletion[] {
  const deletions: Deletion[] = [];
  const recorder = {
    addIndex: () => undefined,
    deleteRows: (table: string, condition: string) => {
      deletions.push({ table, condition });
      return false;
    },
  };
  deleteExpired(recorder as unknown as Tables, retentions, nowSeconds());
  return deletions;
}

/** Returns the steps of the query plan of a deletion, as SQLite describes them. */
function planOf({ table, condition }: Deletion, sql: SqlStorage): string[] {
  const write = vi.spyOn(Tables.prototype, "write").mockReturnValue(0);
  new Tables(sql).deleteRows(table, condition);
  const statement = String(write.mock.calls[0]?.[1]);
  write.mockRestore();
  const bindings = condition.includes("?1") ? [1] : [...condition.matchAll(/\?/g)].map(() => 1);
  return sql
    .exec<{ detail: string }>(`EXPLAIN QUERY PLAN ${statement}`, ...bindings)
    .toArray()
    .map(({ detail }) => detail);
}

/** Returns the deletions of tables that an object has, and those among them that read a whole table. */
function plansIn(
  object: DurableObjectStub,
  deletions: readonly Deletion[],
): Promise<{ planned: Deletion[]; scans: unknown[] }> {
  return runInDurableObject(object, (_, { storage: { sql } }) => {
    const tables = new Tables(sql);
    const planned = deletions.filter(({ table }) => tables.has(table));
    const plans = planned.map((deletion) => ({ deletion, plan: planOf(deletion, sql) }));
    return {
      planned,
      scans: plans.filter(
        ({ plan }) => plan.length === 0 || plan.some((step) => step.startsWith("SCAN")),
      ),
    };
  });
}

const ANN = subject("ann");

/** Stores rows in every table of the gateway's account, of Ann's account and of an object of counts. */
async function fillAccounts(): Promise<DurableObjectStub[]> {
  skipWaits();
  const config = testConfig();
  const payer = { ...ANN, token: { jti: "tok", budget: 1000, exp: nowSeconds() } };
  const cost = { spent: 5, model: "m", images: 1, reported: { row: "a", tokens: 5 } };
  await reserveBudget(config, payer, "gen_1", 10);
  await settleBudget(config, payer, "gen_1", { ...cost, isUncertain: true });
  await reserveBudget(config, payer, "gen_2", 10);
  await releaseBudget(config, payer, "gen_2", { isModerationBlock: true });
  await claimOpenJobs(config, ANN.account, "submission", 1);
  await countUsage(config, { caller: "ann", model: "m", hits: 1, collapsed: 0, saved: 7 });
  const ids = await storingObjects(bindings().BUDGET);
  return ids.map((id) => bindings().BUDGET.get(bindings().BUDGET.idFromString(id)));
}

describe("a deletion in an account", () => {
  it("uses an index or a primary key, whatever it deletes", async () => {
    const deletions = [...deletionsInSource(), ...deletionsOf(ACCOUNT_RETENTIONS)];
    const planned = new Set<Deletion>();
    for (const account of await fillAccounts()) {
      const plans = await plansIn(account, deletions);
      expect(plans.scans).toEqual([]);
      for (const each of plans.planned) planned.add(each);
    }
    expect(deletions.filter((each) => !planned.has(each))).toEqual([]);
    expect(new Set(deletions.map(({ table }) => table))).toEqual(
      new Set([
        "entry",
        "total",
        "block",
        "usage",
        "usage_write",
        "learned",
        "uncertain",
        "open_jobs",
      ]),
    );
  });

  it("uses an index after its alarm if earlier versions created the tables", async () => {
    const account = accountNamed(EVERYBODY);
    await runInDurableObject(account, async (_, { storage }) => {
      storage.sql.exec(`
        CREATE TABLE entry (
          id TEXT PRIMARY KEY, day TEXT NOT NULL, amount INTEGER NOT NULL,
          state TEXT NOT NULL, at INTEGER NOT NULL
        );
        CREATE INDEX entry_state ON entry (state, at);
        CREATE TABLE total (day TEXT PRIMARY KEY, amount INTEGER NOT NULL);
        CREATE TABLE usage (
          day TEXT NOT NULL, caller TEXT NOT NULL, model TEXT NOT NULL,
          images INTEGER NOT NULL, hits INTEGER NOT NULL, collapsed INTEGER NOT NULL,
          spent INTEGER NOT NULL, saved INTEGER NOT NULL, PRIMARY KEY (day, caller, model)
        );
        CREATE TABLE usage_write (
          sender TEXT PRIMARY KEY, number INTEGER NOT NULL, day TEXT NOT NULL
        );
        CREATE TABLE learned (
          row TEXT NOT NULL, day TEXT NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (row, day)
        );
        INSERT INTO learned VALUES ('a', '9999-01-01', 1);`);
      await storage.setAlarm(Date.now() + 1_000_000);
    });
    await runAlarm(account);
    const { planned, scans } = await plansIn(account, deletionsOf(ACCOUNT_RETENTIONS));
    expect(scans).toEqual([]);
    expect(planned.length).toBeGreaterThanOrEqual(8);
  });

  it("would be found here without an index", async () => {
    await fillAccounts();
    const { scans } = await plansIn(accountNamed(EVERYBODY), [
      { table: "total", condition: "amount = ?" },
      { table: "learned", condition: "tokens < ?1" },
    ]);
    expect(scans).toHaveLength(2);
  });
});

describe("a deletion of revocations", () => {
  it("uses an index", async () => {
    await revoke(testConfig(), { jti: "a" });
    const objects = bindings().REVOCATIONS;
    const [id] = await storingObjects(objects);
    const object = objects.get(objects.idFromString(String(id)));
    const { planned, scans } = await plansIn(object, deletionsOf(REVOCATION_RETENTIONS));
    expect([planned.length, scans]).toEqual([1, []]);
  });
});

describe("the source of the accounts and revocations", () => {
  it("deletes rows by `deleteRows` only, with a condition in its text or in a list of retentions", () => {
    const files = Object.entries(sources).map(
      ([path, source]) => [path.slice(path.lastIndexOf("/") + 1), source] as const,
    );
    const countOf = (pattern: RegExp) =>
      files.flatMap(([, source]) => [...source.matchAll(pattern)]).length;
    // The loop over retentions is the only call whose condition is not in its text.
    expect(countOf(/\.deleteRows\(/g)).toBe(deletionsInSource().length + 1);
    const statements = files.flatMap(([file, source]) =>
      [...source.matchAll(/\b(?:DELETE FROM|DROP TABLE)\b[^`"]*/g)].map(
        ([statement]) => `${file}: ${statement.replaceAll(/\s+/g, " ")}`,
      ),
    );
    expect(statements.toSorted()).toEqual([
      // At most 500 rows for each day of a month, by the operator.
      "learned-tokens.ts: DELETE FROM learned",
      expect.stringMatching(/^tables\.ts: DELETE FROM \$\{name\} WHERE rowid IN/),
    ]);
  });
});
