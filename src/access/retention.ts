import { DAY_SECONDS, dayOf } from "../lib/clock.ts";
import type { Tables } from "./tables.ts";

/** The retention of entries and usage. */
export const RETENTION_SECONDS = 31 * DAY_SECONDS;

/** How long the rows of a table stay. */
export interface Retention {
  table: string;
  /** The column with the time of a row: in Unix seconds (`at`), or as a UTC day (`day`, YYYY-MM-DD). */
  column: "at" | "day";
  /** The retention. A row with a day stays until the end of that day at least. */
  seconds: number;
  /** The condition for the rows with this retention; absent if all rows have it. */
  rows?: string;
  /** The condition for rows that stay longer. It has the latest time of an expired row as `?1`. */
  unless?: string;
  /** The index on the column, if an earlier version created the table without it. */
  index?: string;
}

/** Returns the oldest day in retention. */
export function firstDay(nowSeconds: number): string {
  return dayOf(nowSeconds - RETENTION_SECONDS);
}

/**
 * Deletes expired rows, a bounded number.
 *
 * @returns true if there may be more
 */
export function deleteExpired(
  tables: Tables,
  retentions: readonly Retention[],
  nowSeconds: number,
): boolean {
  return retentions.some(({ table, column, seconds, rows, unless, index }) => {
    if (index !== undefined) tables.addIndex(table, index, column);
    const latest = nowSeconds - seconds;
    const isExpired = column === "at" ? "at <= ?1" : "day < ?1";
    const conditions = [rows, isExpired, unless && `NOT (${unless})`];
    return tables.deleteRows(
      table,
      conditions.filter((each) => each !== undefined).join(" AND "),
      column === "at" ? latest : dayOf(latest),
    );
  });
}

/** Returns when the next row may expire, Unix seconds; infinite if there are no rows. */
export function nextExpiry(tables: Tables, retentions: readonly Retention[]): number {
  const times = retentions.map(({ table, column, seconds, rows }) => {
    const where = rows === undefined ? "" : `WHERE ${rows}`;
    const query = `SELECT MIN(${column}) AS oldest FROM "${table}" ${where}`;
    const oldest = tables.rows<{ oldest: number | string | null }>(table, query)[0]?.oldest ?? null;
    if (oldest === null) return Number.POSITIVE_INFINITY;
    return seconds + (typeof oldest === "number" ? oldest : endOfDay(oldest));
  });
  return Math.min(...times);
}

/** Returns the end of a UTC day, Unix seconds. */
function endOfDay(day: string): number {
  return Date.parse(day) / 1000 + DAY_SECONDS;
}
