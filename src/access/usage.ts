import type { MicroDollars } from "../contract/pricing.ts";

/** What happened on a day, for one caller and one model. */
export interface UsageRow {
  /** YYYY-MM-DD, UTC. */
  day: string;
  caller: string;
  model: string;
  /** Pictures that were made. */
  images: number;
  /** Requests that were answered with what was made before. */
  hits: number;
  /** Requests that joined one that was going on. */
  collapsed: number;
  spent: MicroDollars;
  /** What the hits would have cost. */
  saved: MicroDollars;
}

/** Callers choose no names, but tokens may be many: the rest of a day's are counted together. */
const MAX_ROWS_A_DAY = 2000;
const THE_REST = "others";

/** Who used how much, one row for each day, caller and model. */
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

  add(row: UsageRow): void {
    const { day, model, images, hits, collapsed, spent, saved } = row;
    const caller = this.#isRoomFor(row) ? row.caller : THE_REST;
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

  /** The rows of a day and all after it, the newest day first. */
  since(day: string): UsageRow[] {
    return this.#sql
      .exec<Record<string, SqlStorageValue> & UsageRow>(
        "SELECT * FROM usage WHERE day >= ? ORDER BY day DESC, spent DESC, caller, model",
        day,
      )
      .toArray();
  }

  forgetBefore(day: string): void {
    this.#sql.exec("DELETE FROM usage WHERE day < ?", day);
  }

  #isRoomFor({ day, caller, model }: UsageRow): boolean {
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
