import type { ChargedAccounts } from "./budget.ts";

/** An authenticated caller. Jobs store it, so its field names stay. */
export interface Caller {
  /** The name space of its Idempotency-Keys. */
  principal: string;
  /** The key of its rate limits. */
  rateKey: string;
  payer: ChargedAccounts;
}
