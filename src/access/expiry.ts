import { BLOCK_RETENTION } from "./blocks.ts";
import { LEARNED_RETENTION } from "./learned-tokens.ts";
import { CLOSED, RELEASED_SECONDS } from "./ledger.ts";
import { JOB_RETENTIONS } from "./open-jobs.ts";
import { deleteExpired, nextExpiry, RETENTION_SECONDS, type Retention } from "./retention.ts";
import type { Tables } from "./tables.ts";
import { TOTAL_RETENTION, Totals } from "./totals.ts";
import { UNCERTAIN_RETENTION } from "./uncertain.ts";
import { USAGE_RETENTIONS } from "./usage.ts";

const ENTRIES = { table: "entry", column: "at" } as const;

/** The retention of a released id counts from its release. The index has the time of its reservation. */
const RELEASED = { ...ENTRIES, seconds: RELEASED_SECONDS, unless: "COALESCE(closed, at) > ?1" };
const CHARGED = { ...ENTRIES, seconds: RETENTION_SECONDS };

/** The retentions of an account, in the order of deletion. */
export const ACCOUNT_RETENTIONS: readonly Retention[] = [
  { ...RELEASED, rows: "state = 'released'" },
  { ...RELEASED, rows: "state = 'void'" },
  { ...CHARGED, rows: "state = 'open'" },
  { ...CHARGED, rows: "state = 'settled'" },
  TOTAL_RETENTION,
  BLOCK_RETENTION,
  ...USAGE_RETENTIONS,
  LEARNED_RETENTION,
  UNCERTAIN_RETENTION,
  ...JOB_RETENTIONS,
];

/**
 * Deletes the expired rows of an account, a bounded number.
 *
 * @returns true if there may be more
 */
export function deleteExpiredOfAccount(tables: Tables, nowSeconds: number): boolean {
  // The account may have counted jobs only since version 0.1.0 wrote its entries.
  tables.addColumn(...CLOSED);
  if (deleteExpired(tables, ACCOUNT_RETENTIONS, nowSeconds)) return true;
  new Totals(tables).deleteExpired(nowSeconds);
  return false;
}

/** Returns when the next row of an account may expire, Unix seconds; infinite if none ever does. */
export function nextExpiryOfAccount(tables: Tables): number {
  return Math.min(nextExpiry(tables, ACCOUNT_RETENTIONS), new Totals(tables).nextExpiry());
}
