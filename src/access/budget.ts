import { DurableObject } from "cloudflare:workers";
import type { Config } from "../config/environment.ts";
import type { MicroDollars } from "../contract/pricing.ts";
import type { Failure } from "../errors/failure.ts";
import { nowSeconds } from "../lib/clock.ts";
import {
  dayOf,
  RETENTION_DAYS,
  Ledger,
  secondsToMidnight,
  type Limits,
  type Reserved,
} from "./ledger.ts";
import { UsageTable, type UsageRow } from "./usage.ts";

/** Who pays for a generation. */
export interface ChargedAccounts {
  /** The name that the usage is listed under. */
  caller: string;
  /** The account of the caller's day: its own name, or that of its network where it has none. */
  account: string;
  /** The budget that a token brings along for all its life. */
  token: { jti: string; budget: MicroDollars } | undefined;
}

/** An account: the one of everybody, which counts the usage too, a caller's, or a token's. */
export class Budget extends DurableObject<object> {
  readonly #ledger = new Ledger(this.ctx.storage.sql);
  readonly #usage = new UsageTable(this.ctx.storage.sql);

  reserve(id: string, amount: MicroDollars, limits: Limits): Reserved {
    return this.#ledger.reserve(id, amount, limits, nowSeconds());
  }

  /** Closes a reservation; `usage` is counted with it, once. */
  settle(id: string, amount: MicroDollars, usage?: UsageRow): void {
    if (this.#ledger.settle(id, amount) && usage !== undefined) this.#usage.add(usage);
  }

  release(id: string): void {
    this.#ledger.release(id);
  }

  count(rows: readonly UsageRow[]): void {
    this.#usage.forgetBefore(firstDay(nowSeconds()));
    for (const row of rows) this.#usage.add(row);
  }

  usage(): UsageRow[] {
    return this.#usage.since(firstDay(nowSeconds()));
  }

  spentToday(): MicroDollars {
    return this.#ledger.spent(dayOf(nowSeconds()));
  }
}

/** Today and the days before it that are kept. */
function firstDay(seconds: number): string {
  return dayOf(seconds - RETENTION_DAYS * 24 * 60 * 60);
}

/** When a caller that has too many generations going on may try again. */
const BUSY_RETRY_SECONDS = 5;

/**
 * Reserves the worst case of a generation in every account that pays for it: all of them, or none.
 *
 * @returns why it may not be made: `budget_exceeded`, `rate_limit_exceeded`
 * @throws when an account cannot be asked: then nothing is spent either
 */
export async function reserveBudget(
  config: Config,
  payer: ChargedAccounts,
  id: string,
  worst: MicroDollars,
): Promise<Failure | undefined> {
  const accounts = accountsOf(config, payer);
  const results = await Promise.allSettled(
    accounts.map(({ name, limits }) => accountOf(config, name).reserve(id, worst, limits)),
  );
  if (results.every((each) => each.status === "fulfilled" && each.value === "reserved")) {
    return undefined;
  }
  await releaseBudget(config, payer, id);
  const refused = results.map((each) => (each.status === "fulfilled" ? each.value : "broken"));
  if (refused.includes("broken")) throw new Error("an account cannot be asked");
  if (refused.includes("busy")) {
    return {
      code: "rate_limit_exceeded",
      reason: "concurrency",
      retryAfterSeconds: BUSY_RETRY_SECONDS,
      policy: `"concurrency";q=${config.maxConcurrentPerCaller};qu="concurrent-requests"`,
    };
  }
  const isOverForGood = accounts.some(
    ({ limits }, index) => limits.window === "life" && refused[index] === "exceeded",
  );
  return {
    code: "budget_exceeded",
    // No day brings a token's own budget back.
    retryAfterSeconds: isOverForGood ? undefined : secondsToMidnight(nowSeconds()),
  };
}

/** Closes the reservations of a generation with what it cost; may be repeated. */
export async function settleBudget(
  config: Config,
  payer: ChargedAccounts,
  id: string,
  { spent, model, images }: { spent: MicroDollars; model: string; images: number },
): Promise<void> {
  const day = dayOf(nowSeconds());
  const { caller } = payer;
  const usage = { day, caller, model, images, hits: 0, collapsed: 0, spent, saved: 0 };
  await Promise.all(
    accountsOf(config, payer).map(({ name }) =>
      accountOf(config, name).settle(id, spent, name === EVERYBODY ? usage : undefined),
    ),
  );
}

/** Closes the reservations of a generation that cost nothing; may be repeated. */
export async function releaseBudget(
  config: Config,
  payer: ChargedAccounts,
  id: string,
): Promise<void> {
  await Promise.all(
    accountsOf(config, payer).map(({ name }) => accountOf(config, name).release(id)),
  );
}

/** What was spent and is reserved today, by everybody. */
export function spentToday(config: Config): Promise<MicroDollars> {
  return accountOf(config, EVERYBODY).spentToday();
}

const KNOWN_MS = 1000;
let known: { config: Config; untilMs: number; spent: MicroDollars } | undefined;

/**
 * The same as of at most a second ago: for whoever may ask as often as they like, and must not keep
 * the one account of everybody from its work.
 */
export async function cachedSpentToday(config: Config): Promise<MicroDollars> {
  const nowMs = Date.now();
  if (known?.config === config && nowMs < known.untilMs) return known.spent;
  const spent = await spentToday(config);
  known = { config, untilMs: nowMs + KNOWN_MS, spent };
  return spent;
}

/** The usage of today and the days before it, and what is spent and reserved today. */
export async function usageOf(
  config: Config,
): Promise<{ rows: UsageRow[]; spentToday: MicroDollars }> {
  const everybody = accountOf(config, EVERYBODY);
  const [rows, spent] = await Promise.all([everybody.usage(), everybody.spentToday()]);
  return { rows, spentToday: spent };
}

const EVERYBODY = "everybody";

interface Account {
  name: string;
  limits: Limits;
}

function accountsOf(config: Config, { account, token }: ChargedAccounts): Account[] {
  const { budgetPerDay, budgetPerCaller, maxConcurrentPerCaller } = config;
  const unbounded = Number.MAX_SAFE_INTEGER;
  const accounts: Account[] = [
    { name: EVERYBODY, limits: { budget: budgetPerDay, window: "day", maxOpen: unbounded } },
    {
      name: `caller/${account}`,
      limits: { budget: budgetPerCaller, window: "day", maxOpen: maxConcurrentPerCaller },
    },
  ];
  if (token !== undefined) {
    const { jti, budget } = token;
    const limits: Limits = { budget, window: "life", maxOpen: unbounded };
    accounts.push({ name: `token/${jti}`, limits });
  }
  return accounts;
}

function accountOf({ budgets }: Config, name: string): DurableObjectStub<Budget> {
  return budgets.get(budgets.idFromName(name));
}

const WRITE_AFTER_MS = 1000;

/** What this isolate has counted and not written yet, by day, caller and model. */
const uncounted = new Map<string, UsageRow>();
let nextWriteMs = 0;

/**
 * Counts a request that cost nothing. Written a second later and many at once, because a hit must
 * not cost a trip to an object.
 *
 * @returns work that the runtime is to stay alive for, where this request is the one that writes
 */
export function countUsage(
  config: Config,
  counted: Omit<UsageRow, "day" | "images" | "spent">,
): Promise<void> | undefined {
  const row = { ...counted, day: dayOf(nowSeconds()), images: 0, spent: 0 };
  // Neither a day nor a caller holds a space.
  const key = `${row.day} ${row.caller} ${row.model}`;
  const sum = uncounted.get(key);
  uncounted.set(key, sum === undefined ? row : added(sum, row));
  const nowMs = Date.now();
  if (nowMs < nextWriteMs) return undefined;
  nextWriteMs = nowMs + WRITE_AFTER_MS;
  return write(config);
}

async function write(config: Config): Promise<void> {
  await scheduler.wait(WRITE_AFTER_MS);
  const rows = [...uncounted.values()];
  uncounted.clear();
  if (rows.length > 0) await accountOf(config, EVERYBODY).count(rows);
}

function added(sum: UsageRow, { hits, collapsed, saved }: UsageRow): UsageRow {
  return {
    ...sum,
    hits: sum.hits + hits,
    collapsed: sum.collapsed + collapsed,
    saved: sum.saved + saved,
  };
}
