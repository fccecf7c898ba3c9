import type { Config } from "../config/environment.ts";
import type { MicroDollars } from "../contract/pricing.ts";
import { objectClient, type ObjectClient } from "../lib/object-client.ts";
import type { Budget } from "./budget.ts";
import type { Limits } from "./ledger.ts";

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
  token: BudgetedToken | undefined;
}

/** A token with a budget of its own. */
interface BudgetedToken {
  jti: string;
  budget: MicroDollars;
  /** When the token expires, Unix seconds. Absent in what earlier versions stored. */
  exp?: number | undefined;
}

/** One of these accounts. */
export interface Account {
  /** Names its Durable Object. */
  name: string;
  kind: "caller" | "token" | "gateway";
  limits: Limits;
  /** The name of the variable, or of the token's claim, that sets the budget. */
  variable: string;
}

/** The name of the account that every generation is charged to. */
export const GATEWAY = "everybody";

/** The account of signed webhooks, whose secret only the operator's own systems have. */
const WEBHOOK_ACCOUNT = "webhook";

/** The share of a network in the day's budget, so that one network cannot spend all of it. */
const NETWORK_SHARE = 1 / 5;

const UNLIMITED = Number.MAX_SAFE_INTEGER;

const DAY_VARIABLE = "BUDGET_USD_PER_DAY";
const SHARE_VARIABLE = "BUDGET_USD_PER_DAY_PER_CALLER";

/**
 * Returns the accounts in the order in which their rejections are reported.
 *
 * @param day the UTC day that a reservation belongs to, YYYY-MM-DD
 */
export function accountsOf(
  config: Config,
  { account, token }: ChargedAccounts,
  day: string,
): Account[] {
  const { budgetPerDay, maxConcurrentPerCaller, generationsPerMinute, maxBlocksPerCaller } = config;
  const { budget, variable } = shareOf(account, config);
  const daily = { window: "day", day } as const;
  const accounts: Account[] = [
    {
      name: callerAccount(account),
      kind: "caller",
      limits: {
        ...daily,
        budget,
        maxOpen: maxConcurrentPerCaller,
        maxPerMinute: generationsPerMinute,
        maxBlocks: maxBlocksPerCaller,
      },
      variable,
    },
  ];
  if (token !== undefined) {
    accounts.push({
      name: `token/${token.jti}`,
      kind: "token",
      limits: {
        budget: token.budget,
        window: "life",
        maxOpen: UNLIMITED,
        expires: token.exp,
      },
      variable: "budget_usd",
    });
  }
  accounts.push({
    name: GATEWAY,
    kind: "gateway",
    limits: { ...daily, budget: budgetPerDay, maxOpen: UNLIMITED },
    variable: DAY_VARIABLE,
  });
  return accounts;
}

/**
 * Returns the part of the day's budget that a caller may spend, and the variable that sets it. Without
 * `BUDGET_USD_PER_DAY_PER_CALLER` it is a fifth for a network, and everything for the subject of a token,
 * because the operator chooses the subjects.
 */
function shareOf(
  account: string,
  { budgetPerDay, budgetPerCaller }: Config,
): { budget: MicroDollars; variable: string } {
  if (account === WEBHOOK_ACCOUNT) return { budget: budgetPerDay, variable: DAY_VARIABLE };
  if (budgetPerCaller !== undefined) return { budget: budgetPerCaller, variable: SHARE_VARIABLE };
  return account.startsWith("network/")
    ? { budget: Math.floor(budgetPerDay * NETWORK_SHARE), variable: SHARE_VARIABLE }
    : { budget: budgetPerDay, variable: DAY_VARIABLE };
}

/** Returns the name of a caller's daily account as a Durable Object. */
export function callerAccount(account: string): string {
  return `caller/${account}`;
}

export function accountOf({ budgets }: Config, name: string): ObjectClient<Budget> {
  return objectClient(budgets, budgets.idFromName(name));
}
