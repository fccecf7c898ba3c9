import type { MicroDollars } from "../contract/pricing.ts";

/** How long an account's entries are kept, in days; the usage of as many days can be asked for. */
export const RETENTION_DAYS = 31;

/** A reservation that nobody closed in this time belongs to a call that is over. */
const OPEN_SECONDS = 15 * 60;

/** What an account may spend. */
export interface Limits {
  budget: MicroDollars;
  /** In what time: a UTC day, or all its life. */
  window: "day" | "life";
  /** Reservations that may be open at once. */
  maxOpen: number;
}

export type Reserved =
  | "reserved"
  /** The budget does not allow it. */
  | "exceeded"
  /** Too many are open. */
  | "busy";

/**
 * The money of one account: reserved before it is spent, settled when it is known what was spent,
 * released when nothing was. What is reserved counts as spent until then.
 *
 * Every step may be repeated: an id is reserved once and closed once, whatever is said of it later.
 *
 * | table | rows |
 * | --- | --- |
 * | `entry` | one for each reservation: `{id, day, amount, state, at}` |
 * | `total` | what was spent and is reserved in a window: `{day, amount}`; the day of a life is `life` |
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
   * Reserves an amount for a generation, if the account has it.
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
    if (known !== undefined) return known.state === "open" ? "reserved" : "exceeded";
    if (this.#openSince(nowSeconds - OPEN_SECONDS) >= maxOpen) return "busy";
    const day = window === "life" ? "life" : dayOf(nowSeconds);
    if (this.spent(day) + amount > budget) return "exceeded";
    if (this.#total(day) === undefined) this.#forget(nowSeconds - RETENTION_DAYS * SECONDS_PER_DAY);
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

  /**
   * Closes a reservation with what was spent.
   *
   * @returns whether it was open
   */
  settle(id: string, amount: MicroDollars): boolean {
    return this.#close(id, "settled", amount);
  }

  /** Closes a reservation of which nothing was spent. */
  release(id: string): void {
    this.#close(id, "released", 0);
  }

  /** What was spent and is reserved on a day (YYYY-MM-DD, UTC), or in a life. */
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

  #entry(id: string) {
    return this.#sql
      .exec<{ day: string; amount: number; state: string }>(
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

  /** A life's total stays: only what is written of its days is forgotten. */
  #forget(beforeSeconds: number): void {
    this.#sql.exec("DELETE FROM entry WHERE state <> 'open' AND at < ?", beforeSeconds);
    this.#sql.exec("DELETE FROM total WHERE day <> 'life' AND day < ?", dayOf(beforeSeconds));
  }
}

const SECONDS_PER_DAY = 24 * 60 * 60;

/** The day that was asked for last: every hit asks, and it is nearly always the same. */
let last = { number: Number.NaN, day: "" };

/** The UTC day of a time, YYYY-MM-DD. */
export function dayOf(seconds: number): string {
  const number = Math.floor(seconds / SECONDS_PER_DAY);
  if (number !== last.number) {
    last = { number, day: new Date(seconds * 1000).toISOString().slice(0, 10) };
  }
  return last.day;
}

/** The seconds from a time to the end of its UTC day. */
export function secondsToMidnight(seconds: number): number {
  return SECONDS_PER_DAY - (seconds % SECONDS_PER_DAY);
}
