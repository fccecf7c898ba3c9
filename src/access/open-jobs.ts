import { DAY_SECONDS } from "../lib/clock.ts";
import { deleteExpired, type Retention } from "./retention.ts";
import type { Tables } from "./tables.ts";

/** The retention of a job: a submission without any news for this long has been deleted. */
export const JOB_RETENTION_SECONDS = 7 * DAY_SECONDS;

/** How long a submission that ended stays known after its claim, so that a repetition claims nothing. */
export const ENDED_SECONDS = 60 * 60;

export const JOB_RETENTIONS: readonly Retention[] = [
  { table: "open_jobs", column: "at", seconds: ENDED_SECONDS, rows: "open = 0" },
  { table: "open_jobs", column: "at", seconds: JOB_RETENTION_SECONDS, rows: "open > 0" },
];

/** The result of a claim. */
export type JobClaim =
  /** The jobs of a new submission count from now on. */
  | "claimed"
  /** The submission has claimed its jobs before. Nothing changes. */
  | "known"
  /** The caller has too many open jobs. Nothing changes. */
  | "refused";

/**
 * Counts the open jobs of one caller, by submission. A count only decreases after its claim, so every call
 * may be repeated, late or out of order.
 *
 * | table | rows |
 * | --- | --- |
 * | `open_jobs` | `{submission, open, at}`: the jobs that have not ended, and the time of the claim (Unix seconds) |
 */
export class OpenJobs {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /**
   * Counts the jobs of a submission if the caller then has at most `limit` open jobs.
   *
   * @param now Unix seconds
   */
  claim(submission: string, jobs: number, limit: number, now: number): JobClaim {
    deleteExpired(this.#tables, JOB_RETENTIONS, now);
    if (this.#isKnown(submission)) return "known";
    if (this.#openSince(now - JOB_RETENTION_SECONDS) + jobs > limit) return "refused";
    this.#tables.create(
      "open_jobs",
      `CREATE TABLE open_jobs (
         submission TEXT PRIMARY KEY, open INTEGER NOT NULL, at INTEGER NOT NULL
       );
       CREATE INDEX open_jobs_open ON open_jobs (at) WHERE open > 0;
       CREATE INDEX open_jobs_ended ON open_jobs (at) WHERE open = 0;`,
    );
    this.#tables.write(
      "open_jobs",
      "INSERT INTO open_jobs (submission, open, at) VALUES (?, ?, ?)",
      submission,
      jobs,
      now,
    );
    return "claimed";
  }

  /** Lowers the count of a submission. A higher count than before changes nothing. */
  lower(submission: string, open: number): void {
    this.#tables.write(
      "open_jobs",
      "UPDATE open_jobs SET open = MIN(open, ?) WHERE submission = ?",
      open,
      submission,
    );
  }

  #isKnown(submission: string): boolean {
    const query = "SELECT 1 FROM open_jobs WHERE submission = ?";
    return this.#tables.rows("open_jobs", query, submission).length > 0;
  }

  #openSince(seconds: number): number {
    const [sum] = this.#tables.rows<{ open: number | null }>(
      "open_jobs",
      "SELECT SUM(open) AS open FROM open_jobs WHERE open > 0 AND at > ?",
      seconds,
    );
    return sum?.open ?? 0;
  }
}
