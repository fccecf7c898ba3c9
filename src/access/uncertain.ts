import type { MicroDollars } from "../contract/pricing.ts";
import { RETENTION_SECONDS, type Retention } from "./retention.ts";
import type { Tables } from "./tables.ts";
import type { UsageRow } from "./usage.ts";

/** The charge of a generation whose outcome is unknown. */
export interface UncertainCharge {
  /** The id of the generation. */
  id: string;
  /** YYYY-MM-DD, UTC. */
  day: string;
  amount: MicroDollars;
  /** The caller and the model of its row of usage. */
  caller: string;
  model: string;
  /** The ids of the other accounts that it was charged to. They are Durable Objects. */
  accounts: readonly string[];
}

/** A charge with its position, from which the next ones are read. */
export interface ListedCharge extends Pick<UncertainCharge, "id" | "accounts"> {
  position: number;
}

/** Bounds the table. The oldest charge then stays in the usage, and cannot be released any more. */
const MAX_ROWS = 10_000;

export const UNCERTAIN_RETENTION: Retention = {
  table: "uncertain",
  column: "day",
  seconds: RETENTION_SECONDS,
};

/** Bounds one list: the accounts of a charge are called for each. */
const MAX_LISTED = 100;

/** Later than every day. */
const LAST_DAY = "9999-12-31";

type ChargeRow = Record<string, SqlStorageValue> &
  Omit<UncertainCharge, "accounts"> & { accounts: string };
type ListedRow = Record<string, SqlStorageValue> & {
  position: number;
  id: string;
  accounts: string;
};

/** Stores the charges of generations whose outcome is unknown: one row for each. */
export class UncertainCharges {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  add({ id, day, amount, caller, model, accounts }: UncertainCharge): void {
    this.#tables.create(
      "uncertain",
      `CREATE TABLE uncertain (
         position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, day TEXT NOT NULL,
         amount INTEGER NOT NULL, caller TEXT NOT NULL, model TEXT NOT NULL, accounts TEXT NOT NULL
       );
       CREATE INDEX uncertain_day ON uncertain (day);`,
    );
    this.#tables.write(
      "uncertain",
      "INSERT INTO uncertain (id, day, amount, caller, model, accounts) VALUES (?, ?, ?, ?, ?, ?)",
      id,
      day,
      amount,
      caller,
      model,
      accounts.join(","),
    );
    this.#tables.deleteRows(
      "uncertain",
      "position <= (SELECT MAX(position) FROM uncertain) - ?",
      MAX_ROWS,
    );
  }

  /**
   * Returns the charges after a position, at most 100.
   *
   * @param sinceDay the oldest day
   * @param day the only day; `undefined` for every day
   */
  list(after: number, sinceDay: string, day: string | undefined): ListedCharge[] {
    return this.#tables
      .rows<ListedRow>(
        "uncertain",
        `SELECT position, id, accounts FROM uncertain
           WHERE position > ?1 AND day >= ?2 AND day <= ?3 ORDER BY position LIMIT ?4`,
        after,
        day ?? sinceDay,
        day ?? LAST_DAY,
        MAX_LISTED,
      )
      .map(({ position, id, accounts }) => ({ position, id, accounts: accounts.split(",") }));
  }

  /** Deletes the charge of a generation. Returns it; `undefined` if there is none. */
  remove(id: string): Omit<UncertainCharge, "accounts"> | undefined {
    const [row] = this.#tables.rows<ChargeRow>(
      "uncertain",
      "SELECT * FROM uncertain WHERE id = ?",
      id,
    );
    if (row !== undefined) this.#tables.deleteRows("uncertain", "id = ?", id);
    return row;
  }

  /** Returns rows of usage with their uncertain part. */
  addTo(rows: readonly UsageRow[], sinceDay: string): UsageRow[] {
    const sums = this.#tables.rows<
      Record<string, SqlStorageValue> & Pick<UncertainCharge, "day" | "caller" | "model" | "amount">
    >(
      "uncertain",
      `SELECT day, caller, model, SUM(amount) AS amount FROM uncertain
         WHERE day >= ? GROUP BY day, caller, model`,
      sinceDay,
    );
    const nameOf = ({ day, caller, model }: { day: string; caller: string; model: string }) =>
      JSON.stringify([day, caller, model]);
    const uncertain = new Map(sums.map((sum) => [nameOf(sum), sum.amount]));
    return rows.map((row) => {
      const amount = uncertain.get(nameOf(row));
      return amount === undefined ? row : { ...row, uncertain: amount };
    });
  }
}
