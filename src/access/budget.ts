import { DurableObject } from "cloudflare:workers";
import type { MicroDollars, ReportedTokens, TokenBound } from "../contract/pricing.ts";
import { DAY_SECONDS, dayOf, nowSeconds } from "../lib/clock.ts";
import { LearnedTokens, type LearnedRow } from "./learned-tokens.ts";
import { RETENTION_DAYS, Ledger, type Limits, type Reserved } from "./ledger.ts";
import { UsageTable, type UsageRow } from "./usage.ts";

/** One account: of the gateway, which also stores the usage, of a caller, or of a token. */
export class Budget extends DurableObject<object> {
  readonly #ledger = new Ledger(this.ctx.storage.sql);
  readonly #usage = new UsageTable(this.ctx.storage.sql);
  readonly #learned = new LearnedTokens(this.ctx.storage.sql);

  /**
   * Reserves an amount for a generation; idempotent.
   *
   * @param bound how the amount grows if images have had more tokens than it assumes. Version 0.1.0 sends
   *   none and expects the outcome alone
   */
  reserve(
    id: string,
    amount: MicroDollars,
    limits: Limits,
    bound?: TokenBound,
  ): Reserved | BoundReservation {
    const now = nowSeconds();
    if (bound === undefined) return this.#ledger.reserve(id, amount, limits, now);
    const learned = this.#learned.most(bound.row, firstDay(now));
    const growth = Math.ceil(Math.max(0, learned - bound.tokens) * bound.microPerToken);
    const raised = amount + growth;
    return { outcome: this.#ledger.reserve(id, raised, limits, now), amount: raised };
  }

  /**
   * Closes a reservation with the actual cost, and adds `usage` and `reported` once; idempotent.
   *
   * @param reported the tokens to remember for later reservations
   */
  settle(id: string, amount: MicroDollars, usage?: UsageRow, reported?: ReportedTokens): void {
    if (!this.#ledger.settle(id, amount)) return;
    if (usage !== undefined) this.#usage.add(usage);
    if (reported !== undefined) this.#learned.add({ ...reported, day: dayOf(nowSeconds()) });
  }

  /** Returns the remembered tokens of the days in retention. */
  learnedTokens(): LearnedRow[] {
    return this.#learned.since(firstDay(nowSeconds()));
  }

  resetLearnedTokens(): void {
    this.#learned.deleteAll();
  }

  /** Closes a reservation without a charge; idempotent. */
  release(id: string): void {
    this.#ledger.release(id);
  }

  /** Adds rows to the usage, and deletes the rows of days past the retention. */
  count(rows: readonly UsageRow[]): void {
    const first = firstDay(nowSeconds());
    this.#usage.deleteBefore(first);
    this.#learned.deleteBefore(first);
    for (const row of rows) this.#usage.add(row);
  }

  /** Returns the usage of today and of the days in retention. */
  usage(): UsageRow[] {
    return this.#usage.since(firstDay(nowSeconds()));
  }

  /** Returns the spent and reserved amount of today. */
  spentToday(): MicroDollars {
    return this.#ledger.spent(dayOf(nowSeconds()));
  }
}

/** A reservation whose amount depends on the remembered tokens. */
interface BoundReservation {
  outcome: Reserved;
  /** The amount that was to be reserved. */
  amount: MicroDollars;
}

/** Returns the oldest day in retention. */
function firstDay(seconds: number): string {
  return dayOf(seconds - RETENTION_DAYS * DAY_SECONDS);
}
