import type { Config } from "../config/environment.ts";
import type { MicroDollars, ReportedTokens, TokenBound } from "../contract/pricing.ts";
import type { Failure } from "../errors/failure.ts";
import { dayOf, nowSeconds } from "../lib/clock.ts";
import type { Budget } from "./budget.ts";
import type { LearnedRow } from "./learned-tokens.ts";
import { secondsToMidnight, type Limits, type Reserved } from "./ledger.ts";
import type { UsageRow } from "./usage.ts";

/**
 * The accounts that a generation is charged to.
 *
 * Durable Objects store this type for days and receive it by RPC, and a deployment replaces a busy
 * object up to 15 minutes late. Its property names therefore do not change, and neither do the names of
 * RPC methods.
 */
export interface ChargedAccounts {
  /** The caller's name in the usage. */
  caller: string;
  /** The name of the caller's daily account: its subject, or its network if it has no subject. */
  account: string;
  /** The token's own budget for its lifetime; `undefined` without one. */
  token: { jti: string; budget: MicroDollars } | undefined;
}

/** The Retry-After of a caller with too many generations in progress. */
const BUSY_RETRY_SECONDS = 5;

/**
 * Reserves the upper bound of a generation's cost in every account that it is charged to: in all of
 * them, or in none.
 *
 * If the gateway's account remembers images with more tokens than the upper bound assumes, all of them
 * reserve the larger amount.
 *
 * @param bound how the amount depends on tokens; absent for a price per image
 * @returns the reserved amount, or the failure if an account rejects it: `budget_exceeded` or
 *   `rate_limit_exceeded`
 * @throws if an account is unreachable; nothing is charged then, and the generation must not start
 */
export async function reserveBudget(
  config: Config,
  charged: ChargedAccounts,
  id: string,
  amount: MicroDollars,
  bound?: TokenBound,
): Promise<Reservation> {
  const accounts = accountsOf(config, charged);
  let reservations = await reserveIn(accounts, id, amount, bound, config);
  const raised = Math.max(...reservations.map((each) => each.amount));
  if (raised > amount && reservations.every(isReserved)) {
    // Only the gateway's account remembers tokens. The others reserve the same amount.
    reservations = await reserveIn(accounts, id, raised, undefined, config);
  }
  if (reservations.every(isReserved)) return { amount: raised };
  await releaseBudget(config, charged, id);
  const outcomes = reservations.map(({ outcome }) => outcome);
  if (outcomes.includes("unreachable")) throw new Error("an account is unreachable");
  return { failure: rejection(accounts, outcomes, config) };
}

/** The outcome of a reservation in all accounts. */
export type Reservation =
  | { amount: MicroDollars; failure?: undefined }
  | { amount?: undefined; failure: Failure };

/** Returns the failure of a reservation that an account rejects. */
function rejection(
  accounts: readonly Account[],
  outcomes: readonly AccountReservation["outcome"][],
  { maxConcurrentPerCaller }: Config,
): Failure {
  if (outcomes.includes("busy")) {
    return {
      code: "rate_limit_exceeded",
      reason: "concurrency",
      retryAfterSeconds: BUSY_RETRY_SECONDS,
      policy: `"concurrency";q=${maxConcurrentPerCaller};qu="concurrent-requests"`,
    };
  }
  const isTokenSpent = accounts.some(
    ({ limits }, index) => limits.window === "life" && outcomes[index] === "exceeded",
  );
  return {
    code: "budget_exceeded",
    // The budget of a token does not renew, so a retry never succeeds.
    retryAfterSeconds: isTokenSpent ? undefined : secondsToMidnight(nowSeconds()),
  };
}

interface AccountReservation {
  outcome: Reserved | "unreachable";
  amount: MicroDollars;
}

function isReserved({ outcome }: AccountReservation): boolean {
  return outcome === "reserved";
}

/** Reserves an amount in accounts, the gateway's with the bound of tokens. */
function reserveIn(
  accounts: readonly Account[],
  id: string,
  amount: MicroDollars,
  bound: TokenBound | undefined,
  config: Config,
): Promise<AccountReservation[]> {
  return Promise.all(
    accounts.map(async ({ name, limits }): Promise<AccountReservation> => {
      try {
        const ofAccount = name === GATEWAY ? bound : undefined;
        const reserved = await accountOf(config, name).reserve(id, amount, limits, ofAccount);
        // Without a bound, and in version 0.1.0, an account returns the outcome alone.
        return typeof reserved === "string"
          ? { outcome: reserved, amount }
          : { outcome: reserved.outcome, amount: reserved.amount };
      } catch {
        return { outcome: "unreachable", amount };
      }
    }),
  );
}

/** Settles the reservations of a generation with its actual cost; idempotent. */
export async function settleBudget(
  config: Config,
  charged: ChargedAccounts,
  id: string,
  { spent, model, images, reported }: Settlement,
): Promise<void> {
  const day = dayOf(nowSeconds());
  const { caller } = charged;
  const usage = { day, caller, model, images, hits: 0, collapsed: 0, spent, saved: 0 };
  await Promise.all(
    accountsOf(config, charged).map(({ name }) =>
      name === GATEWAY
        ? accountOf(config, name).settle(id, spent, usage, reported)
        : accountOf(config, name).settle(id, spent),
    ),
  );
}

/** The end of a generation, for its accounts. */
export interface Settlement {
  spent: MicroDollars;
  model: string;
  images: number;
  /** The tokens of an image to remember for later upper bounds. */
  reported?: ReportedTokens | undefined;
}

/** Releases the reservations of a generation that cost nothing; idempotent. */
export async function releaseBudget(
  config: Config,
  charged: ChargedAccounts,
  id: string,
): Promise<void> {
  await Promise.all(
    accountsOf(config, charged).map(({ name }) => accountOf(config, name).release(id)),
  );
}

/** Returns the spent and reserved amount of all callers today. */
export function spentToday(config: Config): Promise<MicroDollars> {
  return accountOf(config, GATEWAY).spentToday();
}

const CACHE_MS = 1000;
let cached: { config: Config; untilMs: number; spent: MicroDollars } | undefined;

/**
 * Returns the spent and reserved amount of all callers, at most a second old. For requests without a
 * rate limit, which must not overload the one account of the gateway.
 */
export async function cachedSpentToday(config: Config): Promise<MicroDollars> {
  const nowMs = Date.now();
  if (cached?.config === config && nowMs < cached.untilMs) return cached.spent;
  const spent = await spentToday(config);
  cached = { config, untilMs: nowMs + CACHE_MS, spent };
  return spent;
}

/** Returns the usage of today and of the days in retention, and the spent and reserved amount of today. */
export async function usageOf(
  config: Config,
): Promise<{ rows: UsageRow[]; spentToday: MicroDollars }> {
  const account = accountOf(config, GATEWAY);
  const [rows, spent] = await Promise.all([account.usage(), account.spentToday()]);
  return { rows, spentToday: spent };
}

/** Returns the remembered tokens, by the requested parameters. */
export function learnedTokens(config: Config): Promise<LearnedRow[]> {
  return accountOf(config, GATEWAY).learnedTokens();
}

/** Deletes the remembered tokens: upper bounds are then those of the tables. */
export function resetLearnedTokens(config: Config): Promise<void> {
  return accountOf(config, GATEWAY).resetLearnedTokens();
}

/** The name of the account that every generation is charged to. It names a Durable Object. */
const GATEWAY = "everybody";

interface Account {
  name: string;
  limits: Limits;
}

function accountsOf(config: Config, { account, token }: ChargedAccounts): Account[] {
  const { budgetPerDay, budgetPerCaller, maxConcurrentPerCaller } = config;
  const unbounded = Number.MAX_SAFE_INTEGER;
  const accounts: Account[] = [
    { name: GATEWAY, limits: { budget: budgetPerDay, window: "day", maxOpen: unbounded } },
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

const WRITE_DELAY_MS = 1000;

/** Usage that this isolate has counted and not yet written, by day, caller and model. */
const unwritten = new Map<string, UsageRow>();
let nextWriteMs = 0;

/**
 * Counts a request that cost nothing. Counts are collected for a second and written together, because a
 * cache hit must not call a Durable Object.
 *
 * @returns the write, for `waitUntil`; `undefined` if another request writes
 */
export function countUsage(
  config: Config,
  counted: Omit<UsageRow, "day" | "images" | "spent">,
): Promise<void> | undefined {
  const row = { ...counted, day: dayOf(nowSeconds()), images: 0, spent: 0 };
  // Days and callers contain no spaces, so the key is unambiguous.
  const key = `${row.day} ${row.caller} ${row.model}`;
  const sum = unwritten.get(key);
  unwritten.set(key, sum === undefined ? row : added(sum, row));
  const nowMs = Date.now();
  if (nowMs < nextWriteMs) return undefined;
  nextWriteMs = nowMs + WRITE_DELAY_MS;
  return write(config);
}

async function write(config: Config): Promise<void> {
  await scheduler.wait(WRITE_DELAY_MS);
  const rows = [...unwritten.values()];
  unwritten.clear();
  if (rows.length > 0) await accountOf(config, GATEWAY).count(rows);
}

function added(sum: UsageRow, { hits, collapsed, saved }: UsageRow): UsageRow {
  return {
    ...sum,
    hits: sum.hits + hits,
    collapsed: sum.collapsed + collapsed,
    saved: sum.saved + saved,
  };
}
