import type { MicroDollars } from "../contract/pricing.ts";
import { firstDay, RETENTION_SECONDS, type Retention } from "./retention.ts";
import type { Tables } from "./tables.ts";
import { TOKEN_MAX_SECONDS } from "./token.ts";

/** The window of a budget that is not renewed. It sorts after every day. */
export const LIFE = "life";

/** The rows of days. Totals are deleted after the entries, whose amounts they contain. */
export const TOTAL_RETENTION: Retention = {
  table: "total",
  column: "day",
  seconds: RETENTION_SECONDS,
  rows: `day < '${LIFE}'`,
};

type TotalRow = Record<string, SqlStorageValue> & { amount: number; expires?: number | null };

/**
 * Stores the spent and reserved amount of each window of a budget.
 *
 * | table | rows |
 * | --- | --- |
 * | `total` | `{day, amount, expires}`: a UTC day (YYYY-MM-DD) or `life`, and for `life` the time until which the total stays (Unix seconds). Tables of version 0.1.0 have no `expires` |
 */
export class Totals {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /** Returns the amount of a window: a UTC day (YYYY-MM-DD), or `life`. */
  amount(window: string): MicroDollars {
    return this.#row(window)?.amount ?? 0;
  }

  add(window: string, amount: MicroDollars): void {
    this.#tables.create(
      "total",
      "CREATE TABLE total (day TEXT PRIMARY KEY, amount INTEGER NOT NULL, expires INTEGER)",
    );
    this.#tables.write(
      "total",
      `INSERT INTO total (day, amount) VALUES (?, ?)
         ON CONFLICT (day) DO UPDATE SET amount = amount + excluded.amount`,
      window,
      amount,
    );
  }

  /**
   * Extends the retention of the total of a token's lifetime, which must stay as long as the token can spend.
   * A job of the token may be charged after the token has expired, so the total stays 31 days longer.
   *
   * @param expires when the token expires, Unix seconds. If `undefined`, it is assumed to be issued now, for
   *   the longest lifetime
   */
  extendLife(expires: number | undefined, nowSeconds: number): void {
    const end = Math.max(nowSeconds, expires ?? nowSeconds + TOKEN_MAX_SECONDS);
    this.#tables.addColumn("total", "expires", "INTEGER");
    this.#tables.write(
      "total",
      `UPDATE total SET expires = MAX(COALESCE(expires, 0), ?) WHERE day = '${LIFE}'`,
      Math.min(end, Number.MAX_SAFE_INTEGER - RETENTION_SECONDS) + RETENTION_SECONDS,
    );
  }

  /** Deletes the totals that are 0, and that of a lifetime whose retention has ended. */
  deleteExpired(nowSeconds: number): void {
    this.#tables.deleteRows("total", "day >= ? AND amount = 0", firstDay(nowSeconds));
    const life = this.#row(LIFE);
    if (life === undefined) return;
    if ((life.expires ?? null) === null) this.extendLife(undefined, nowSeconds);
    else if (this.nextExpiry() <= nowSeconds) this.#tables.deleteRows("total", "day = ?", LIFE);
  }

  /** Returns when the total of a lifetime expires, Unix seconds; infinite if there is none. */
  nextExpiry(): number {
    return this.#row(LIFE)?.expires ?? Number.POSITIVE_INFINITY;
  }

  #row(window: string): TotalRow | undefined {
    // Tables of version 0.1.0 have fewer columns.
    return this.#tables.rows<TotalRow>("total", "SELECT * FROM total WHERE day = ?", window)[0];
  }
}
