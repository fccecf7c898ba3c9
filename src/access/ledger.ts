import type { MicroDollars } from "../contract/pricing.ts";
import { DAY_SECONDS, dayOf } from "../lib/clock.ts";

/** The retention of entries and usage, in days. */
export const RETENTION_DAYS = 31;

/** An older open reservation belongs to a generation that has ended: the longest takes ten minutes. */
const OPEN_SECONDS = 15 * 60;

/** The limits of an account. */
export interface Limits {
  budget: MicroDollars;
  /** The period of the budget: a UTC day, or the lifetime of the account. */
  window: "day" | "life";
  /** The largest number of open reservations. */
  maxOpen: number;
}

/** A stored reservation. */
interface Entry {
  day: string;
  amount: MicroDollars;
  state: string;
}

/** The result of a reservation. */
export type Reserved =
  | "reserved"
  /** The budget does not cover the amount. */
  | "exceeded"
  /** Too many reservations are open. */
  | "busy";

/**
 * Stores the money of one account. An amount is reserved before a generation starts. It is settled with
 * the actual cost, or released if the generation cost nothing. Until then it counts as spent.
 *
 * Every step is idempotent: an id is reserved once and closed once, and later calls change nothing.
 *
 * | table | rows |
 * | --- | --- |
 * | `entry` | one for each reservation: `{id, day, amount, state, at}` |
 * | `total` | the spent and reserved amount of a window: `{day, amount}`; `day` is `life` for a lifetime |
 */
export class Ledger {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(`
      CREATE TABLE IF NOT EXISTS entry (
        id TEXT PRIMARY KEY, day TEXT NOT NULL, amount INTEGER NOT NULL,
        state TEXT NOT NULL, at INTEGER NOT NULL
      );
      CREATE INDEX IF NOT EXISTS entry_state ON entry (state, at);
      CREATE TABLE IF NOT EXISTS total (day TEXT PRIMARY KEY, amount INTEGER NOT NULL);
    `);
  }

  /**
   * Reserves an amount for a generation, if the account's limits allow it. A larger amount for the same
   * generation raises its reservation.
   *
   * @param nowSeconds Unix seconds
   */
  reserve(
    id: string,
    amount: MicroDollars,
    { budget, window, maxOpen }: Limits,
    nowSeconds: number,
  ): Reserved {
    const known = this.#entry(id);
    if (known !== undefined) return this.#raise(id, known, amount, budget);
    if (this.#openSince(nowSeconds - OPEN_SECONDS) >= maxOpen) return "busy";
    const day = window === "life" ? "life" : dayOf(nowSeconds);
    if (this.spent(day) + amount > budget) return "exceeded";
    if (this.#total(day) === undefined) {
      this.#deleteBefore(nowSeconds - RETENTION_DAYS * DAY_SECONDS);
    }
    this.#sql.exec(
      "INSERT INTO entry (id, day, amount, state, at) VALUES (?, ?, ?, 'open', ?)",
      id,
      day,
      amount,
      nowSeconds,
    );
    this.#add(day, amount);
    return "reserved";
  }

  #raise(id: string, entry: Entry, amount: MicroDollars, budget: MicroDollars): Reserved {
    if (entry.state !== "open") return "exceeded";
    const growth = amount - entry.amount;
    if (growth <= 0) return "reserved";
    if (this.spent(entry.day) + growth > budget) return "exceeded";
    this.#sql.exec("UPDATE entry SET amount = ? WHERE id = ?", amount, id);
    this.#add(entry.day, growth);
    return "reserved";
  }

  /** Closes a reservation with the actual cost. Returns true if it was open. */
  settle(id: string, amount: MicroDollars): boolean {
    return this.#close(id, "settled", amount);
  }

  /** Closes a reservation without a charge. */
  release(id: string): void {
    this.#close(id, "released", 0);
  }

  /** Returns the spent and reserved amount of a window: a UTC day (YYYY-MM-DD), or `life`. */
  spent(day: string): MicroDollars {
    return this.#total(day) ?? 0;
  }

  #total(day: string): MicroDollars | undefined {
    const [row] = this.#sql
      .exec<{ amount: number }>("SELECT amount FROM total WHERE day = ?", day)
      .toArray();
    return row?.amount;
  }

  #close(id: string, state: "settled" | "released", amount: MicroDollars): boolean {
    const entry = this.#entry(id);
    if (entry?.state !== "open") return false;
    this.#sql.exec("UPDATE entry SET state = ?, amount = ? WHERE id = ?", state, amount, id);
    this.#add(entry.day, amount - entry.amount);
    return true;
  }

  #entry(id: string): Entry | undefined {
    return this.#sql
      .exec<Record<string, SqlStorageValue> & Entry>(
        "SELECT day, amount, state FROM entry WHERE id = ?",
        id,
      )
      .toArray()[0];
  }

  #openSince(seconds: number): number {
    const { count } = this.#sql
      .exec<{ count: number }>(
        "SELECT COUNT(*) AS count FROM entry WHERE state = 'open' AND at > ?",
        seconds,
      )
      .one();
    return count;
  }

  #add(day: string, amount: MicroDollars): void {
    this.#sql.exec(
      `INSERT INTO total (day, amount) VALUES (?, ?)
         ON CONFLICT (day) DO UPDATE SET amount = amount + excluded.amount`,
      day,
      amount,
    );
  }

  /** Deletes old closed entries and totals. The total of a lifetime stays. */
  #deleteBefore(beforeSeconds: number): void {
    this.#sql.exec("DELETE FROM entry WHERE state <> 'open' AND at < ?", beforeSeconds);
    this.#sql.exec("DELETE FROM total WHERE day <> 'life' AND day < ?", dayOf(beforeSeconds));
  }
}

/**
 * Returns the seconds from a time to the end of its UTC day.
 *
 * @param seconds Unix seconds
 */
export function secondsToMidnight(seconds: number): number {
  return DAY_SECONDS - (seconds % DAY_SECONDS);
}
