import type { Retention } from "./retention.ts";
import type { Tables } from "./tables.ts";

export const BLOCK_RETENTION: Retention = { table: "block", column: "day", seconds: 0 };

/** Stores how many generations of an account moderation blocked: one row `{day, count}` for each UTC day. */
export class Blocks {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  count(day: string): number {
    const query = "SELECT count FROM block WHERE day = ?";
    return this.#tables.rows<{ count: number }>("block", query, day)[0]?.count ?? 0;
  }

  add(day: string): void {
    this.#tables.create(
      "block",
      "CREATE TABLE block (day TEXT PRIMARY KEY, count INTEGER NOT NULL)",
    );
    this.#tables.write(
      "block",
      "INSERT INTO block (day, count) VALUES (?, 1) ON CONFLICT (day) DO UPDATE SET count = count + 1",
      day,
    );
  }
}
