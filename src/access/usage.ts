import type { MicroDollars } from "../contract/pricing.ts";
import type { Tables } from "./tables.ts";

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
  /** Includes the charges of generations whose outcome is unknown. */
  spent: MicroDollars;
  /** The part of `spent` whose generations have an unknown outcome. Absent if 0, and in version 0.1.0. */
  uncertain?: MicroDollars;
  /** The cost of the generations that cache hits avoided. Collapsed requests add 0. */
  saved: MicroDollars;
}

/** A row as it is stored, without what its caller's uncertain charges add. */
type StoredRow = Record<string, SqlStorageValue> & Omit<UsageRow, "uncertain">;

/** Bounds the table, because tokens may have many subjects. Later callers of a day share one name. */
const MAX_ROWS_A_DAY = 2000;
const OTHER_CALLERS = "others";

/** Stores usage: one row for each day, caller and model. */
export class UsageTable {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /**
   * Adds a row to the sums of its day, caller and model.
   *
   * @returns the name of the caller in the table
   */
  add(row: UsageRow): string {
    const { day, model, images, hits, collapsed, spent, saved } = row;
    // Version 0.1.0 inserts a value for each column, so that none may be added.
    this.#tables.create(
      "usage",
      `CREATE TABLE usage (
         day TEXT NOT NULL, caller TEXT NOT NULL, model TEXT NOT NULL,
         images INTEGER NOT NULL, hits INTEGER NOT NULL, collapsed INTEGER NOT NULL,
         spent INTEGER NOT NULL, saved INTEGER NOT NULL,
         PRIMARY KEY (day, caller, model)
       )`,
    );
    const caller = this.#hasRoomFor(row) ? row.caller : OTHER_CALLERS;
    this.#tables.write(
      "usage",
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
    return caller;
  }

  /** Returns the rows from a day on, the newest day first. */
  since(day: string): UsageRow[] {
    return this.#tables.rows<StoredRow>(
      "usage",
      "SELECT * FROM usage WHERE day >= ? ORDER BY day DESC, spent DESC, caller, model",
      day,
    );
  }

  deleteBefore(day: string): void {
    this.#tables.write("usage", "DELETE FROM usage WHERE day < ?", day);
  }

  #hasRoomFor({ day, caller, model }: UsageRow): boolean {
    const [others] = this.#tables.rows<{ count: number }>(
      "usage",
      `SELECT COUNT(*) AS count FROM usage
         WHERE day = ? AND NOT (caller = ? AND model = ?)`,
      day,
      caller,
      model,
    );
    return (others?.count ?? 0) < MAX_ROWS_A_DAY;
  }
}
