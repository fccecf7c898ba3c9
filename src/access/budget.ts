import { DurableObject } from "cloudflare:workers";
import type { MicroDollars, ReportedTokens, TokenBound } from "../contract/pricing.ts";
import { dayOf, nowSeconds, YEAR_SECONDS } from "../lib/clock.ts";
import { deleteExpiredOfAccount, nextExpiryOfAccount } from "./expiry.ts";
import { LearnedTokens, type LearnedRow } from "./learned-tokens.ts";
import { Ledger, RELEASED_SECONDS, type Limits, type Release, type Reserved } from "./ledger.ts";
import { ENDED_SECONDS, JOB_RETENTION_SECONDS, OpenJobs, type JobClaim } from "./open-jobs.ts";
import { firstDay, RETENTION_SECONDS } from "./retention.ts";
import { Tables } from "./tables.ts";
import { UncertainCharges, type ListedCharge } from "./uncertain.ts";
import { UsageTable, type UsageRow, type UsageWrite } from "./usage.ts";

/** The pause between two alarms, so that one alarm deletes the rows of several generations. */
const ALARM_PAUSE_SECONDS = 10 * 60;

/** The pause if one alarm cannot delete everything. */
const MORE_PAUSE_SECONDS = 1;

/** The longest pause: the platform cannot represent every time at which a token may expire. */
const LONGEST_PAUSE_SECONDS = YEAR_SECONDS;

/**
 * One account: of the gateway, which also stores the usage that costs, of a caller, or of a token. Or one of
 * the objects that store the usage of requests without cost. Its alarm deletes what has expired, and the whole
 * object once it has no rows.
 */
export class Budget extends DurableObject<object> {
  readonly #tables = new Tables(this.ctx.storage.sql);
  readonly #ledger = new Ledger(this.#tables);
  readonly #usage = new UsageTable(this.#tables);
  readonly #learned = new LearnedTokens(this.#tables);
  readonly #openJobs = new OpenJobs(this.#tables);
  readonly #uncertain = new UncertainCharges(this.#tables);
  /** When the alarm is set for, Unix seconds; `undefined` until it is read from storage. */
  #alarmSeconds: number | undefined;

  /**
   * Reserves an amount for a generation; idempotent.
   *
   * @param bound how the amount grows if images have had more tokens than it assumes. Version 0.1.0 sends
   *   none and expects the outcome alone
   */
  async reserve(
    id: string,
    amount: MicroDollars,
    limits: Limits,
    bound?: TokenBound,
  ): Promise<Reserved | DetailedReservation> {
    const now = nowSeconds();
    const raised = amount + this.#growth(bound, now);
    const outcome = this.#ledger.reserve(id, raised, limits, now);
    if (outcome === "reserved") await this.#wakeBy(now + RETENTION_SECONDS);
    if (outcome === "frequent" && limits.maxPerMinute !== undefined) {
      const retryAfterSeconds = this.#ledger.secondsToNextStart(limits.maxPerMinute, now);
      return { outcome, amount: raised, retryAfterSeconds };
    }
    return bound === undefined ? outcome : { outcome, amount: raised };
  }

  /** Returns how much a reservation grows because of the remembered tokens. */
  #growth(bound: TokenBound | undefined, now: number): MicroDollars {
    if (bound === undefined) return 0;
    const learned = this.#learned.most(bound.row, firstDay(now));
    return Math.ceil(Math.max(0, learned - bound.tokens) * bound.microPerToken);
  }

  /**
   * Closes a reservation with the actual cost, and adds `usage` and `reported` once; idempotent. The usage
   * counts on the day of the reservation.
   *
   * @param reported the tokens to remember for later reservations
   * @param uncertainIn the ids of the other accounts, if the outcome of the generation is unknown
   */
  async settle(
    id: string,
    amount: MicroDollars,
    usage?: UsageRow,
    reported?: ReportedTokens,
    uncertainIn?: readonly string[],
  ): Promise<void> {
    const now = nowSeconds();
    const day = this.#ledger.settle(id, amount, now);
    if (day === undefined) return;
    if (usage !== undefined) {
      const { caller, model } = this.#usage.add({ ...usage, day });
      if (uncertainIn !== undefined) {
        this.#uncertain.add({ id, day, amount, caller, model, accounts: uncertainIn });
      }
    }
    if (reported !== undefined) this.#learned.add({ ...reported, day: dayOf(now) });
    // Version 0.1.0 reserved without an alarm.
    await this.#wakeBy(now + RETENTION_SECONDS);
  }

  /** Returns the remembered tokens of the days in retention. */
  learnedTokens(): LearnedRow[] {
    return this.#learned.since(firstDay(nowSeconds()));
  }

  resetLearnedTokens(): void {
    this.#learned.deleteAll();
  }

  /** Counts the jobs of a submission, unless the caller then has more than `limit` open jobs; idempotent. */
  async claimJobs(submission: string, jobs: number, limit: number): Promise<JobClaim> {
    const now = nowSeconds();
    const claim = this.#openJobs.claim(submission, jobs, limit, now);
    if (claim === "claimed") await this.#wakeBy(now + JOB_RETENTION_SECONDS);
    return claim;
  }

  /** Lowers the count of a submission; idempotent. */
  async lowerJobs(submission: string, open: number): Promise<void> {
    this.#openJobs.lower(submission, open);
    if (open === 0) await this.#wakeBy(nowSeconds() + ENDED_SECONDS);
  }

  /** Closes a reservation without a charge; idempotent. Nothing reserves the id again for an hour. */
  async release(id: string, how: Release = {}): Promise<void> {
    const now = nowSeconds();
    this.#ledger.release(id, how, now);
    await this.#wakeBy(now + RELEASED_SECONDS);
  }

  /**
   * Returns the charges of generations whose outcome is unknown, at most 100 after a position.
   *
   * @param day the only day, YYYY-MM-DD; all days in retention if absent
   */
  uncertainCharges(after: number, day?: string): ListedCharge[] {
    return this.#uncertain.list(after, firstDay(nowSeconds()), day);
  }

  /**
   * Takes the charges of generations back; idempotent.
   *
   * @returns the number of generations that were charged, and the sum
   */
  async refund(ids: readonly string[]): Promise<Refund> {
    const now = nowSeconds();
    const refund: Refund = { generations: 0, amount: 0 };
    for (const id of ids) {
      const amount = this.#ledger.refund(id, now);
      const charge = this.#uncertain.remove(id);
      if (amount === undefined) continue;
      refund.generations += 1;
      refund.amount += amount;
      if (charge !== undefined) this.#usage.add({ ...NO_USAGE, ...charge, spent: -amount });
    }
    if (refund.generations > 0) await this.#wakeBy(now + RELEASED_SECONDS);
    return refund;
  }

  /**
   * Adds rows to the usage.
   *
   * @param write idempotent with it: a repetition of the write adds nothing. Version 0.1.0 sends none
   */
  async count(rows: readonly UsageRow[], write?: UsageWrite): Promise<void> {
    const now = nowSeconds();
    if (write !== undefined) this.#usage.addOnce(rows, write, dayOf(now));
    else for (const row of rows) this.#usage.add(row);
    await this.#wakeBy(now + RETENTION_SECONDS);
  }

  /** Returns the usage of today and of the days in retention. */
  usage(): UsageRow[] {
    const first = firstDay(nowSeconds());
    return this.#uncertain.addTo(this.#usage.since(first), first);
  }

  /** Returns the spent and reserved amount of today. */
  spentToday(): MicroDollars {
    return this.#ledger.spent(dayOf(nowSeconds()));
  }

  /** Deletes what has expired. */
  override async alarm(): Promise<void> {
    this.#alarmSeconds = Number.POSITIVE_INFINITY;
    const now = nowSeconds();
    if (deleteExpiredOfAccount(this.#tables, now)) {
      await this.#wakeBy(now + MORE_PAUSE_SECONDS);
    } else if (this.#tables.areEmpty()) {
      await this.ctx.storage.deleteAll();
      this.#tables.reset();
    } else {
      const next = Math.max(nextExpiryOfAccount(this.#tables), now + ALARM_PAUSE_SECONDS);
      await this.#wakeBy(Math.min(next, now + LONGEST_PAUSE_SECONDS));
    }
  }

  /** Sets the alarm, unless it is set for an earlier time. */
  async #wakeBy(seconds: number): Promise<void> {
    this.#alarmSeconds ??= ((await this.ctx.storage.getAlarm()) ?? Number.POSITIVE_INFINITY) / 1000;
    if (seconds >= this.#alarmSeconds) return;
    this.#alarmSeconds = seconds;
    await this.ctx.storage.setAlarm(seconds * 1000);
  }
}

/** A reservation with more than its outcome. */
interface DetailedReservation {
  outcome: Reserved;
  /** The amount that was to be reserved. */
  amount: MicroDollars;
  /** With the outcome `frequent`: the seconds until another generation may begin. */
  retryAfterSeconds?: number;
}

/** Charges that were taken back. */
export interface Refund {
  generations: number;
  amount: MicroDollars;
}

const NO_USAGE = { images: 0, hits: 0, collapsed: 0, saved: 0 };
