import { DAY_SECONDS, dayOf } from "../lib/clock.ts";
import { CLOSED, RELEASED_SECONDS, RETENTION_DAYS } from "./ledger.ts";
import type { Tables } from "./tables.ts";

/** Bounds one deletion, during which a Durable Object answers no call. */
const MAX_DELETED = 2000;

export const RETENTION_SECONDS = RETENTION_DAYS * DAY_SECONDS;

// A released id has its time of release since version 0.1.0. The index has the time of its reservation.
const DELETE_RELEASED = `
  DELETE FROM entry WHERE rowid IN (
    SELECT rowid FROM entry
      WHERE state IN ('released', 'void') AND at <= ?1 AND COALESCE(closed, at) <= ?1 LIMIT ?2
  )`;
const DELETE_OLD = `
  DELETE FROM entry WHERE rowid IN (
    SELECT rowid FROM entry WHERE state IN ('open', 'settled') AND at < ? LIMIT ?
  )`;

/** Returns the oldest day in retention. */
export function firstDay(nowSeconds: number): string {
  return dayOf(nowSeconds - RETENTION_SECONDS);
}

/**
 * Deletes the expired rows of a ledger, at most 2,000 of each kind. The total of a lifetime stays.
 *
 * @returns true if there may be more
 */
export function deleteExpired(tables: Tables, nowSeconds: number): boolean {
  // The account may have counted jobs only since version 0.1.0 wrote its entries.
  tables.addColumn(...CLOSED);
  // Each deleted row is at least one written row.
  const released = tables.write(
    "entry",
    DELETE_RELEASED,
    nowSeconds - RELEASED_SECONDS,
    MAX_DELETED,
  );
  const old = tables.write("entry", DELETE_OLD, nowSeconds - RETENTION_SECONDS, MAX_DELETED);
  if (Math.max(released, old) >= MAX_DELETED) return true;
  // After the entries, whose amounts the totals contain.
  tables.write(
    "total",
    "DELETE FROM total WHERE amount = 0 OR (day <> 'life' AND day < ?)",
    firstDay(nowSeconds),
  );
  tables.write("block", "DELETE FROM block WHERE day < ?", dayOf(nowSeconds));
  return false;
}

/** Returns when the next row of a ledger may expire, Unix seconds; infinite if none ever does. */
export function nextExpiry(tables: Tables): number {
  const oldest = (state: string) =>
    tables.rows<{ at: number | null }>(
      "entry",
      "SELECT MIN(at) AS at FROM entry WHERE state = ?",
      state,
    )[0]?.at ?? Number.POSITIVE_INFINITY;
  const firstOf = (table: string) => {
    const query = `SELECT MIN(day) AS day FROM "${table}" WHERE day <> 'life'`;
    const day = tables.rows<{ day: string | null }>(table, query)[0]?.day ?? null;
    return day === null ? Number.POSITIVE_INFINITY : Date.parse(day) / 1000;
  };
  return Math.min(
    ...["released", "void"].map((state) => oldest(state) + RELEASED_SECONDS),
    ...["open", "settled"].map((state) => oldest(state) + RETENTION_SECONDS),
    ...["total", "usage", "usage_write", "learned", "uncertain"].map(
      (table) => firstOf(table) + RETENTION_SECONDS + DAY_SECONDS,
    ),
    firstOf("block") + DAY_SECONDS,
  );
}
