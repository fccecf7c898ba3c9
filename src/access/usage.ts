import type { MicroDollars } from "../contract/pricing.ts";
import { RETENTION_SECONDS, type Retention } from "./retention.ts";
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

export const USAGE_RETENTIONS: readonly Retention[] = [
  { table: "usage", column: "day", seconds: RETENTION_SECONDS },
  // The senders that have written nothing since.
  { table: "usage_write", column: "day", seconds: RETENTION_SECONDS, index: "usage_write_day" },
];

/** The name that callers, and then models, share when there are too many of them. */
const OTHERS = "others";
/** Clients may name many models: each snapshot of a model has a name of its own. */
const MAX_ROWS_OF_OTHERS = 100;

/**
 * Returns the row under the name that a bounded collection has room for: its own; that of other callers;
 * that of other callers and models.
 *
 * @param maxRows rows with names of their own
 * @param rowsBeside the number of rows, without the one of the same caller and model
 */
export function boundedRow(
  row: UsageRow,
  maxRows: number,
  rowsBeside: (row: UsageRow) => number,
): UsageRow {
  if (rowsBeside(row) < maxRows) return row;
  const ofOthers = { ...row, caller: OTHERS };
  if (rowsBeside(ofOthers) < maxRows + MAX_ROWS_OF_OTHERS) return ofOthers;
  return { ...ofOthers, model: OTHERS };
}

/** Returns the key of a row: its day, caller and model. Days and callers contain no spaces. */
export function usageKey({ day, caller, model }: UsageRow): string {
  return `${day} ${caller} ${model}`;
}

/** Returns the sums of rows by day, caller and model, in the order of `UsageTable.since`. */
export function summedUsage(rows: readonly UsageRow[]): UsageRow[] {
  const sums = new Map<string, UsageRow>();
  for (const row of rows) addUsage(sums, row);
  return [...sums.values()].toSorted(
    (a, b) =>
      compared(b.day, a.day) ||
      b.spent - a.spent ||
      compared(a.caller, b.caller) ||
      compared(a.model, b.model),
  );
}

/** Adds a row to the sum of its day, caller and model. */
export function addUsage(sums: Map<string, UsageRow>, row: UsageRow): void {
  const key = usageKey(row);
  const sum = sums.get(key);
  sums.set(
    key,
    sum === undefined
      ? row
      : {
          ...sum,
          images: sum.images + row.images,
          hits: sum.hits + row.hits,
          collapsed: sum.collapsed + row.collapsed,
          spent: sum.spent + row.spent,
          uncertain: (sum.uncertain ?? 0) + (row.uncertain ?? 0),
          saved: sum.saved + row.saved,
        },
  );
}

function compared(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Identifies a write, so that a repetition adds nothing. */
export interface UsageWrite {
  /** The sender, a UUID. */
  by: string;
  /** From 1, and larger for each write of a sender. A sender has at most one write that is not confirmed. */
  number: number;
}

/**
 * Stores usage.
 *
 * | table | rows |
 * | --- | --- |
 * | `usage` | one for each day, caller and model |
 * | `usage_write` | the last write of each sender: `{sender, number, day}` |
 */
export class UsageTable {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /** Adds the rows of a write, unless it or a later write of its sender was added before. */
  addOnce(rows: readonly UsageRow[], { by, number }: UsageWrite, day: string): void {
    this.#tables.create(
      "usage_write",
      `CREATE TABLE usage_write (
         sender TEXT PRIMARY KEY, number INTEGER NOT NULL, day TEXT NOT NULL
       );
       CREATE INDEX usage_write_day ON usage_write (day);`,
    );
    const rowsWritten = this.#tables.write(
      "usage_write",
      `INSERT INTO usage_write (sender, number, day) VALUES (?, ?, ?)
         ON CONFLICT (sender) DO UPDATE SET number = excluded.number, day = excluded.day
         WHERE excluded.number > usage_write.number`,
      by,
      number,
      day,
    );
    if (rowsWritten === 0) return;
    for (const row of rows) this.add(row);
  }

  /**
   * Adds a row to the sums of its day, caller and model.
   *
   * @returns the names of the caller and the model in the table
   */
  add(row: UsageRow): Pick<UsageRow, "caller" | "model"> {
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
    const { day, caller, model, images, hits, collapsed, spent, saved } = boundedRow(
      row,
      MAX_ROWS_A_DAY,
      (each) => this.#rowsBeside(each),
    );
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
    return { caller, model };
  }

  /** Returns the rows from a day on, the newest day first. */
  since(day: string): UsageRow[] {
    return this.#tables.rows<StoredRow>(
      "usage",
      "SELECT * FROM usage WHERE day >= ? ORDER BY day DESC, spent DESC, caller, model",
      day,
    );
  }

  #rowsBeside({ day, caller, model }: UsageRow): number {
    const [others] = this.#tables.rows<{ count: number }>(
      "usage",
      `SELECT COUNT(*) AS count FROM usage
         WHERE day = ? AND NOT (caller = ? AND model = ?)`,
      day,
      caller,
      model,
    );
    return others?.count ?? 0;
  }
}
