import type { Config } from "../config/environment.ts";
import { MICRO_PER_DOLLAR, type MicroDollars } from "../contract/pricing.ts";
import type { Failure, RateLimitReason } from "../errors/failure.ts";
import { DAY_SECONDS, secondsToMidnight } from "../lib/clock.ts";
import type { Account } from "./charged-accounts.ts";
import type { Reserved } from "./ledger.ts";
import { rateLimitPolicy } from "./rate-limit.ts";

/** An account's answer to a reservation. */
export interface AccountReservation {
  account: Account;
  outcome: Reserved | "unreachable";
  /** The amount that was to be reserved. */
  amount: MicroDollars;
  /** With the outcome `frequent`: the seconds until another generation may begin. */
  retryAfterSeconds?: number | undefined;
}

/** The Retry-After of a caller that must wait for its own or another generation to end. */
const BUSY_RETRY_SECONDS = 5;

/**
 * Returns the failure of a reservation that an account rejected. A rejection for money that is only reserved
 * is `rate_limit_exceeded`, because the money may return at any moment.
 *
 * @param nowSeconds Unix seconds
 */
export function failureOfRejection(
  { account, outcome, amount, retryAfterSeconds = BUSY_RETRY_SECONDS }: AccountReservation,
  config: Config,
  nowSeconds: number,
): Failure {
  const { limits, variable } = account;
  const limited = (reason: RateLimitReason, seconds: number, policy: string): Failure => ({
    code: "rate_limit_exceeded",
    reason,
    retryAfterSeconds: seconds,
    policy,
  });
  switch (outcome) {
    case "frequent":
      return limited("generations", retryAfterSeconds, rateLimitPolicy(config));
    case "busy":
      return limited(
        "concurrency",
        BUSY_RETRY_SECONDS,
        `"concurrency";q=${config.maxConcurrentPerCaller};qu="concurrent-requests"`,
      );
    case "blocked":
      return limited(
        "blocks",
        secondsToMidnight(nowSeconds),
        `"blocks";q=${config.maxBlocksPerCaller};w=${DAY_SECONDS}`,
      );
    case "held":
      return limited(
        "reserved",
        BUSY_RETRY_SECONDS,
        `"reserved";q=${limits.budget};qu="micro-dollars"`,
      );
    default:
      break;
  }
  if (amount > limits.budget) {
    const requestUsd = amount / MICRO_PER_DOLLAR;
    const limitUsd = limits.budget / MICRO_PER_DOLLAR;
    return {
      code: "budget_exceeded",
      retryAfterSeconds: undefined,
      above: { variable, requestUsd, limitUsd },
    };
  }
  return {
    code: "budget_exceeded",
    // The budget of a token does not renew, so a retry never succeeds.
    retryAfterSeconds: limits.window === "life" ? undefined : secondsToMidnight(nowSeconds),
  };
}
