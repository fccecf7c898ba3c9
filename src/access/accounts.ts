import type { Config } from "../config/environment.ts";
import type { MicroDollars, ReportedTokens, TokenBound } from "../contract/pricing.ts";
import type { Failure } from "../errors/failure.ts";
import { dayOf, nowSeconds } from "../lib/clock.ts";
import { objectClient } from "../lib/object-client.ts";
import type { Refund } from "./budget.ts";
import {
  accountOf,
  accountsOf,
  GATEWAY,
  type Account,
  type ChargedAccounts,
} from "./charged-accounts.ts";
import type { LearnedRow } from "./learned-tokens.ts";
import type { Release } from "./ledger.ts";
import { failureOfRejection, type AccountReservation } from "./rejection.ts";
import { countedUsage } from "./usage-counts.ts";
import { summedUsage, type UsageRow } from "./usage.ts";

export type { ChargedAccounts };

/**
 * Reserves the upper bound of a generation's cost in every account that it is charged to: in all of
 * them, or in none. All are called at the same time.
 *
 * If the gateway's account remembers images with more tokens than the upper bound assumes, all of them
 * reserve the larger amount.
 *
 * @param bound how the amount depends on tokens; absent for a price per image
 * @returns the reserved amount, or the failure if an account rejects it: `budget_exceeded` or
 *   `rate_limit_exceeded`. Of several rejections it is that of the caller's account, else of the token's
 * @throws if an account is unreachable, or the id was closed; nothing is charged then, and the generation
 *   must not start
 */
export async function reserveBudget(
  config: Config,
  charged: ChargedAccounts,
  id: string,
  amount: MicroDollars,
  bound?: TokenBound,
): Promise<Reservation> {
  const now = nowSeconds();
  // All accounts reserve on the same day, even if midnight passes between their clocks.
  const accounts = accountsOf(config, charged, dayOf(now));
  const first = await reserveIn(accounts, id, amount, bound, config);
  const raised = Math.max(...first.map((each) => each.amount));
  const isRaised = raised > amount && first.every(isReserved);
  // Only the gateway's account remembers tokens. The others reserve the same amount.
  const last = isRaised ? await reserveIn(accounts, id, raised, undefined, config) : first;
  const rejected = last.find((each) => !isReserved(each));
  if (rejected === undefined) return { amount: raised };
  const mayHold = accounts.filter((account) =>
    [...first, ...last].some((each) => each.account === account && mayBeReserved(each)),
  );
  await releaseIn(config, mayHold, id, { isUnstarted: true });
  for (const { outcome } of last) {
    if (outcome === "unreachable") throw new Error("an account is unreachable");
    if (outcome === "closed") throw new Error("the reservation was closed before");
  }
  return { failure: failureOfRejection(rejected, config, now) };
}

/** The outcome of a reservation in all accounts. */
export type Reservation =
  | { amount: MicroDollars; failure?: undefined }
  | { amount?: undefined; failure: Failure };

function isReserved({ outcome }: AccountReservation): boolean {
  return outcome === "reserved";
}

function mayBeReserved({ outcome }: AccountReservation): boolean {
  return outcome === "reserved" || outcome === "unreachable";
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
    accounts.map(async (account): Promise<AccountReservation> => {
      const { name, kind, limits } = account;
      try {
        const ofAccount = kind === "gateway" ? bound : undefined;
        // Idempotent by the id.
        const reserved = await accountOf(config, name).reserve(id, amount, limits, ofAccount);
        // Without a bound, and in version 0.1.0, an account returns the outcome alone.
        return typeof reserved === "string"
          ? { account, outcome: reserved, amount }
          : { account, ...reserved };
      } catch {
        return { account, outcome: "unreachable", amount };
      }
    }),
  );
}

/** Settles the reservations of a generation with its actual cost; idempotent. */
export async function settleBudget(
  config: Config,
  charged: ChargedAccounts,
  id: string,
  { spent, model, images, reported, isUncertain = false }: Settlement,
): Promise<void> {
  const day = dayOf(nowSeconds());
  const { caller } = charged;
  const usage = { day, caller, model, images, hits: 0, collapsed: 0, spent, saved: 0 };
  const accounts = accountsOf(config, charged, day);
  const others = accounts.filter(({ kind }) => kind !== "gateway");
  // The ids, because a name may contain the address of a client.
  const uncertainIn = isUncertain
    ? others.map(({ name }) => config.budgets.idFromName(name).toString())
    : undefined;
  await Promise.all([
    accountOf(config, GATEWAY).settle(id, spent, usage, reported, uncertainIn),
    ...others.map(({ name }) => accountOf(config, name).settle(id, spent)),
  ]);
}

/** The end of a generation, for its accounts. */
export interface Settlement {
  spent: MicroDollars;
  model: string;
  images: number;
  /** The tokens of an image to remember for later upper bounds. */
  reported?: ReportedTokens | undefined;
  /** True if the outcome is unknown, so that the operator may release the charge. */
  isUncertain?: boolean;
}

/** Releases the reservations of a generation that cost nothing; idempotent. */
export function releaseBudget(
  config: Config,
  charged: ChargedAccounts,
  id: string,
  how: Release = {},
): Promise<void> {
  return releaseIn(config, accountsOf(config, charged, dayOf(nowSeconds())), id, how);
}

async function releaseIn(
  config: Config,
  accounts: readonly Account[],
  id: string,
  how: Release,
): Promise<void> {
  const { isUnstarted = false } = how;
  await Promise.all(
    accounts.map(({ name, kind }) =>
      // Only the caller's account counts moderation blocks.
      accountOf(config, name).release(id, kind === "caller" ? how : { isUnstarted }),
    ),
  );
}

/** The most accounts that one request calls to release charges: it may call 1,000 Durable Objects. */
const MAX_REFUND_CALLS = 800;

/** Charges that were released. */
export interface ReleasedCharges extends Refund {
  /** True if some may remain: there are many, or an account was unreachable. */
  hasMore: boolean;
}

/**
 * Releases the charges of generations whose outcome is unknown, in every account that they were charged to.
 * Idempotent: the gateway's account is the last, so that a repetition completes what was interrupted.
 *
 * @param day the only day, YYYY-MM-DD; all days in retention if `undefined`
 */
export async function releaseUncertain(
  config: Config,
  day: string | undefined,
): Promise<ReleasedCharges> {
  const { budgets } = config;
  const gateway = accountOf(config, GATEWAY);
  const released: ReleasedCharges = { generations: 0, amount: 0, hasMore: false };
  let position = 0;
  for (let calls = 0; calls < MAX_REFUND_CALLS;) {
    const charges = await gateway.uncertainCharges(position, day);
    const last = charges.at(-1);
    if (last === undefined) return released;
    position = last.position;
    const pairs = charges.flatMap(({ id, accounts }) =>
      accounts.map((account) => ({ account, id })),
    );
    const byAccount = Map.groupBy(pairs, ({ account }) => account);
    const unreachable = new Set<string>();
    await Promise.all(
      [...byAccount].map(async ([account, ofAccount]) => {
        const ids = ofAccount.map(({ id }) => id);
        try {
          await objectClient(budgets, budgets.idFromString(account)).refund(ids);
        } catch {
          for (const id of ids) unreachable.add(id);
        }
      }),
    );
    if (unreachable.size > 0) released.hasMore = true;
    const ids = charges.map(({ id }) => id).filter((id) => !unreachable.has(id));
    const { generations, amount } = await gateway.refund(ids);
    released.generations += generations;
    released.amount += amount;
    calls += byAccount.size + 2;
  }
  return { ...released, hasMore: true };
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

/** The usage of today and of the days in retention. */
export interface UsageReport {
  /** The newest day first. */
  rows: UsageRow[];
  /** False if an object that counts requests without cost did not respond. Its counts are then missing. */
  isComplete: boolean;
  /** The spent and reserved amount of today. */
  spentToday: MicroDollars;
}

/**
 * Returns the usage, and the spent and reserved amount of today.
 *
 * @throws if the gateway's account is unreachable: a report without the money would mislead the operator
 */
export async function usageOf(config: Config): Promise<UsageReport> {
  const account = accountOf(config, GATEWAY);
  const [paid, counted, spent] = await Promise.all([
    account.usage(),
    countedUsage(config),
    account.spentToday(),
  ]);
  const rows = summedUsage([...paid, ...counted.rows]);
  return { rows, isComplete: counted.isComplete, spentToday: spent };
}

/** Returns the remembered tokens, by the requested parameters. */
export function learnedTokens(config: Config): Promise<LearnedRow[]> {
  return accountOf(config, GATEWAY).learnedTokens();
}

/** Deletes the remembered tokens: upper bounds are then those of the tables. */
export function resetLearnedTokens(config: Config): Promise<void> {
  return accountOf(config, GATEWAY).resetLearnedTokens();
}
