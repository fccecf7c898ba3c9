import type { MicroDollars } from "../contract/pricing.ts";
import { dayOf } from "../lib/clock.ts";
import { Blocks } from "./blocks.ts";
import type { Tables } from "./tables.ts";
import { LIFE, Totals } from "./totals.ts";

/** The retention of a released id: a call that arrives late must not reserve it again. */
export const RELEASED_SECONDS = 60 * 60;

/** An older open reservation belongs to a generation that has ended: the longest takes ten minutes. */
const OPEN_SECONDS = 15 * 60;

const MINUTE_SECONDS = 60;

/** The column that tables of version 0.1.0 do not have. */
export const CLOSED = ["entry", "closed", "INTEGER"] as const;

/** The limits of an account. Version 0.1.0 sends the first three. */
export interface Limits {
  budget: MicroDollars;
  /** The period of the budget: a UTC day, or the lifetime of the account. */
  window: "day" | "life";
  /** The largest number of open reservations. */
  maxOpen: number;
  /** The UTC day that a reservation belongs to, YYYY-MM-DD; that of the account's clock if absent. */
  day?: string;
  /** The largest number of generations that begin within a minute; unlimited if absent. */
  maxPerMinute?: number;
  /** The largest number of moderation blocks on a UTC day; unlimited if absent. */
  maxBlocks?: number;
  /** When a lifetime ends, Unix seconds; `undefined` if unknown. */
  expires?: number | undefined;
}

/**
 * A stored reservation: `open`, then `settled` or `released`; `void` if it was released before its
 * generation began.
 */
interface Entry {
  day: string;
  amount: MicroDollars;
  state: string;
}

/** The result of a reservation. Version 0.1.0 knows the first three. */
export type Reserved =
  | "reserved"
  /** The budget does not cover the amount. */
  | "exceeded"
  /** Too many reservations are open. */
  | "busy"
  /** The budget covers the amount, but other reservations hold the rest of it. */
  | "held"
  /** Too many generations began within the last minute. */
  | "frequent"
  /** Moderation blocked too many generations today. */
  | "blocked"
  /** The id was settled or released. */
  | "closed";

/** How a reservation is released. */
export interface Release {
  /** True if the upstream's moderation blocked the generation. */
  isModerationBlock?: boolean;
  /** True if the generation never began, so that it does not count in its minute. */
  isUnstarted?: boolean;
}

/**
 * Stores the money of one account. An amount is reserved before a generation starts. It is settled with
 * the actual cost, or released if the generation cost nothing. Until then it counts as spent.
 *
 * Every step is idempotent: an id is reserved once and closed once, and later calls change nothing.
 *
 * | table | rows |
 * | --- | --- |
 * | `entry` | one for each reservation: `{id, day, amount, state, at, closed}`, times in Unix seconds. Rows of version 0.1.0 have no `closed` |
 */
export class Ledger {
  readonly #tables: Tables;
  readonly #blocks: Blocks;
  readonly #totals: Totals;

  constructor(tables: Tables) {
    this.#tables = tables;
    this.#blocks = new Blocks(tables);
    this.#totals = new Totals(tables);
  }

  /**
   * Reserves an amount for a generation, if the account's limits allow it. A larger amount for the same
   * generation raises its reservation. Of several limits, those come first that waiting cannot help.
   *
   * @param nowSeconds Unix seconds
   */
  reserve(id: string, amount: MicroDollars, limits: Limits, nowSeconds: number): Reserved {
    const known = this.#entry(id);
    if (known !== undefined) return this.#raise(id, known, amount, limits.budget, nowSeconds);
    const day = limits.window === "life" ? LIFE : (limits.day ?? dayOf(nowSeconds));
    const refusal = this.#refusal(amount, day, limits, nowSeconds);
    if (refusal !== undefined) return refusal;
    this.#insert(id, { day, amount, state: "open" }, nowSeconds);
    this.#totals.add(day, amount);
    if (day === LIFE) this.#totals.extendLife(limits.expires, nowSeconds);
    return "reserved";
  }

  #refusal(
    amount: MicroDollars,
    day: string,
    { budget, maxOpen, maxPerMinute, maxBlocks }: Limits,
    nowSeconds: number,
  ): Reserved | undefined {
    const rest = this.#coverage({ id: "", day, amount: 0 }, amount, budget, nowSeconds);
    if (rest === "exceeded") return rest;
    if (maxBlocks !== undefined && this.#blocks.count(day) >= maxBlocks) return "blocked";
    if (maxPerMinute !== undefined && this.secondsToNextStart(maxPerMinute, nowSeconds) > 0) {
      return "frequent";
    }
    return this.#openSince(nowSeconds - OPEN_SECONDS) >= maxOpen ? "busy" : rest;
  }

  #raise(
    id: string,
    entry: Entry,
    amount: MicroDollars,
    budget: MicroDollars,
    nowSeconds: number,
  ): Reserved {
    if (entry.state !== "open") return "closed";
    const growth = amount - entry.amount;
    if (growth <= 0) return "reserved";
    const refusal = this.#coverage({ id, ...entry }, amount, budget, nowSeconds);
    if (refusal !== undefined) return refusal;
    this.#tables.write("entry", "UPDATE entry SET amount = ? WHERE id = ?", amount, id);
    this.#totals.add(entry.day, growth);
    return "reserved";
  }

  /**
   * Returns why the budget does not cover an amount; `undefined` if it does.
   *
   * @param own the reservation that the amount replaces
   */
  #coverage(
    own: Pick<Entry, "day" | "amount"> & { id: string },
    amount: MicroDollars,
    budget: MicroDollars,
    nowSeconds: number,
  ): "exceeded" | "held" | undefined {
    const others = this.spent(own.day) - own.amount;
    if (others + amount <= budget) return undefined;
    const settled = others - this.#openAmount(own.day, own.id, nowSeconds - OPEN_SECONDS);
    return settled + amount > budget ? "exceeded" : "held";
  }

  /**
   * Returns the seconds until another generation may begin; 0 if one may begin now. A generation counts for
   * the 60 seconds after its reservation, even if it was released.
   */
  secondsToNextStart(maxPerMinute: number, nowSeconds: number): number {
    const [row] = this.#tables.rows<{ at: number }>(
      "entry",
      `SELECT at FROM entry WHERE state IN ('open', 'settled', 'released') AND at > ?
         ORDER BY at DESC LIMIT 1 OFFSET ?`,
      nowSeconds - MINUTE_SECONDS,
      maxPerMinute - 1,
    );
    return row === undefined ? 0 : row.at + MINUTE_SECONDS - nowSeconds;
  }

  /**
   * Closes a reservation with the actual cost.
   *
   * @returns its day; `undefined` if it was not open
   */
  settle(id: string, amount: MicroDollars, nowSeconds: number): string | undefined {
    const entry = this.#entry(id);
    if (entry?.state !== "open") return undefined;
    this.#close(id, entry, "settled", amount, nowSeconds);
    return entry.day;
  }

  /** Closes a reservation without a charge. An unknown id is closed too, so that it cannot be reserved. */
  release(
    id: string,
    { isModerationBlock = false, isUnstarted = false }: Release,
    nowSeconds: number,
  ): void {
    const entry = this.#entry(id);
    if (entry === undefined) {
      this.#insert(
        id,
        { day: dayOf(nowSeconds), amount: 0, state: "void" },
        nowSeconds,
        nowSeconds,
      );
    } else if (entry.state === "open") {
      this.#close(id, entry, isUnstarted ? "void" : "released", 0, nowSeconds);
      if (isModerationBlock) this.#blocks.add(entry.day);
    }
  }

  /**
   * Takes a charge back. It closes a reservation that is still open, too.
   *
   * @returns the amount; `undefined` if there is none
   */
  refund(id: string, nowSeconds: number): MicroDollars | undefined {
    const entry = this.#entry(id);
    if (entry?.state !== "open" && entry?.state !== "settled") return undefined;
    this.#close(id, entry, "released", 0, nowSeconds);
    return entry.amount;
  }

  /** Returns the spent and reserved amount of a window: a UTC day (YYYY-MM-DD), or `life`. */
  spent(day: string): MicroDollars {
    return this.#totals.amount(day);
  }

  #entry(id: string): Entry | undefined {
    return this.#tables.rows<Record<string, SqlStorageValue> & Entry>(
      "entry",
      "SELECT day, amount, state FROM entry WHERE id = ?",
      id,
    )[0];
  }

  #openSince(seconds: number): number {
    const query = "SELECT COUNT(*) AS count FROM entry WHERE state = 'open' AND at > ?";
    return this.#tables.rows<{ count: number }>("entry", query, seconds)[0]?.count ?? 0;
  }

  /** Returns what the open reservations since a time hold, without one of them. */
  #openAmount(day: string, withoutId: string, seconds: number): MicroDollars {
    const [sum] = this.#tables.rows<{ amount: number | null }>(
      "entry",
      "SELECT SUM(amount) AS amount FROM entry WHERE state = 'open' AND at > ? AND day = ? AND id <> ?",
      seconds,
      day,
      withoutId,
    );
    return sum?.amount ?? 0;
  }

  #insert(
    id: string,
    { day, amount, state }: Entry,
    at: number,
    closed: number | null = null,
  ): void {
    this.#createTable();
    this.#tables.write(
      "entry",
      "INSERT INTO entry (id, day, amount, state, at, closed) VALUES (?, ?, ?, ?, ?, ?)",
      id,
      day,
      amount,
      state,
      at,
      closed,
    );
  }

  #close(
    id: string,
    { day, amount: before }: Entry,
    state: "settled" | "released" | "void",
    amount: MicroDollars,
    nowSeconds: number,
  ): void {
    this.#createTable();
    const statement = "UPDATE entry SET state = ?, amount = ?, closed = ? WHERE id = ?";
    this.#tables.write("entry", statement, state, amount, nowSeconds, id);
    this.#totals.add(day, amount - before);
  }

  /** Creates the table, or adds the column that version 0.1.0 does not have. */
  #createTable(): void {
    this.#tables.create(
      "entry",
      `CREATE TABLE entry (
         id TEXT PRIMARY KEY, day TEXT NOT NULL, amount INTEGER NOT NULL,
         state TEXT NOT NULL, at INTEGER NOT NULL, closed INTEGER
       );
       CREATE INDEX entry_state ON entry (state, at);`,
    );
    this.#tables.addColumn(...CLOSED);
  }
}
