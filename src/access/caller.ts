import type { ChargedAccounts } from "./accounts.ts";

/** An authenticated caller. Jobs store it, so its field names stay. */
export interface Caller {
  /** The namespace of its Idempotency-Keys. */
  principal: string;
  /** The key of its rate limits. */
  rateKey: string;
  /** The accounts that its generations are charged to. */
  payer: ChargedAccounts;
}
