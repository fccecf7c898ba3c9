import type { MicroDollars } from "../contract/pricing.ts";

/** The usage of one model by one caller on one day. */
export interface UsageRow {
  /** YYYY-MM-DD, UTC. */
  day: string;
  caller: string;
  model: string;
  /** Generated images. */
  images: number;
  /** Cache hits. */
  hits: number;
  /** Requests that joined a generation in progress. */
  collapsed: number;
  spent: MicroDollars;
  /** The cost of the generations that cache hits avoided. Collapsed requests add 0. */
  saved: MicroDollars;
}

/** Bounds the table, because tokens may have many subjects. Later callers of a day share one name. */
const MAX_ROWS_A_DAY = 2000;
const OTHER_CALLERS = "others";

/** Stores usage: one row for each day, caller and model. */
export class UsageTable {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(`
      CREATE TABLE IF NOT EXISTS usage (
        day TEXT NOT NULL, caller TEXT NOT NULL, model TEXT NOT NULL,
        images INTEGER NOT NULL, hits INTEGER NOT NULL, collapsed INTEGER NOT NULL,
        spent INTEGER NOT NULL, saved INTEGER NOT NULL,
        PRIMARY KEY (day, caller, model)
      );
    `);
  }

  /** Adds a row to the sums of its day, caller and model. */
  add(row: UsageRow): void {
    const { day, model, images, hits, collapsed, spent, saved } = row;
    const caller = this.#hasRoomFor(row) ? row.caller : OTHER_CALLERS;
    this.#sql.exec(
      `INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (day, caller, model) DO UPDATE SET
           images = images + excluded.images, hits = hits + excluded.hits,
           collapsed = collapsed + excluded.collapsed,
           spent = spent + excluded.spent, saved = saved + excluded.saved`,
      day,
      caller,
      model,
      images,
      hits,
      collapsed,
      spent,
      saved,
    );
  }

  /** Returns the rows from a day on, the newest day first. */
  since(day: string): UsageRow[] {
    return this.#sql
      .exec<Record<string, SqlStorageValue> & UsageRow>(
        "SELECT * FROM usage WHERE day >= ? ORDER BY day DESC, spent DESC, caller, model",
        day,
      )
      .toArray();
  }

  deleteBefore(day: string): void {
    this.#sql.exec("DELETE FROM usage WHERE day < ?", day);
  }

  #hasRoomFor({ day, caller, model }: UsageRow): boolean {
    const { count } = this.#sql
      .exec<{ count: number }>(
        `SELECT COUNT(*) AS count FROM usage
           WHERE day = ? AND NOT (caller = ? AND model = ?)`,
        day,
        caller,
        model,
      )
      .one();
    return count < MAX_ROWS_A_DAY;
  }
}
