import type { ReportedTokens } from "../contract/pricing.ts";
import { RETENTION_SECONDS, type Retention } from "./retention.ts";
import type { Tables } from "./tables.ts";

/** Bounds the table, because clients may request many sizes. The row with the oldest report is replaced. */
const MAX_ROWS = 500;

export const LEARNED_RETENTION: Retention = {
  table: "learned",
  column: "day",
  seconds: RETENTION_SECONDS,
  index: "learned_day",
};

/** The most output tokens of an image on one day, for some requested parameters. */
export interface LearnedRow extends ReportedTokens {
  /** YYYY-MM-DD, UTC. */
  day: string;
}

/**
 * Stores the most output tokens that an upstream has reported for one image: for each day, by the requested
 * parameters. Upper bounds grow with them, because the token tables may be out of date.
 */
export class LearnedTokens {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /** Stores a report if it is the largest of its day. */
  add({ row, tokens, day }: LearnedRow): void {
    this.#tables.create(
      "learned",
      `CREATE TABLE learned (
         row TEXT NOT NULL, day TEXT NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (row, day)
       );
       CREATE INDEX learned_day ON learned (day);`,
    );
    const isNew = this.#rows("row = ?", row).length === 0;
    this.#tables.write(
      "learned",
      `INSERT INTO learned (row, day, tokens) VALUES (?, ?, ?)
         ON CONFLICT (row, day) DO UPDATE SET tokens = excluded.tokens
         WHERE excluded.tokens > learned.tokens`,
      row,
      day,
      tokens,
    );
    if (isNew) this.#deleteOldest();
  }

  #deleteOldest(): void {
    const oldest = this.#tables.rows<{ row: string }>(
      "learned",
      `SELECT row FROM learned GROUP BY row
         ORDER BY MAX(day) DESC, MAX(rowid) DESC LIMIT -1 OFFSET ?`,
      MAX_ROWS,
    );
    for (const { row } of oldest) this.#tables.deleteRows("learned", "row = ?", row);
  }

  /** Returns the most tokens of an image since a day, for the requested parameters; 0 without a report. */
  most(row: string, sinceDay: string): number {
    return this.#rows("row = ? AND day >= ?", row, sinceDay)[0]?.tokens ?? 0;
  }

  /** Returns the most tokens since a day, for all requested parameters. */
  since(day: string): LearnedRow[] {
    return this.#rows("day >= ?", day);
  }

  deleteAll(): void {
    this.#tables.write("learned", "DELETE FROM learned");
  }

  #rows(condition: string, ...bindings: string[]): LearnedRow[] {
    return this.#tables.rows<Record<string, SqlStorageValue> & LearnedRow>(
      "learned",
      // With MAX, SQLite takes the other columns from the row that has the maximum.
      `SELECT row, day, MAX(tokens) AS tokens FROM learned WHERE ${condition} GROUP BY row ORDER BY row`,
      ...bindings,
    );
  }
}
