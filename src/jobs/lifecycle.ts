import { DAY_SECONDS } from "../lib/clock.ts";
import { isFinal } from "./delivery.ts";
import type { StoredBatch, StoredDelivery, StoredJob } from "./storage.ts";

/*
 * The alarm of a batch, as rules: stored state and time in, next step out. No I/O, no clock.
 *
 * The alarm deletes the batch when its retention ends. In local development it also resumes the Workflows of
 * the batch after a restart, which elsewhere the platform does. It must not be set earlier than the deletion
 * elsewhere: after a rollback, any alarm of version 0.1.0 deletes the batch.
 */

/** Retention of a batch. The longest schedule of delivery attempts ends after three days. */
const RETENTION_MS = 7 * DAY_SECONDS * 1000;

/** In local development, unfinished Workflows are resumed at most this long after a restart. */
const LOCAL_CHECK_MS = 2000;

/** The next step of an alarm. */
export type AlarmStep =
  /** Delete the batch. */
  | { kind: "delete" }
  /** Wait for the alarm at this time, Unix milliseconds. */
  | { kind: "sleep"; untilMs: number }
  /** The same, after resuming the Workflows of these jobs if this process does not run them. */
  | { kind: "watch"; untilMs: number; jobs: readonly string[] };

/**
 * Returns the next step of an alarm.
 *
 * @param isLocal returns true in local development. Not called for the deletion, which no invalid variable
 *   may prevent
 * @param nowMs Unix milliseconds
 */
export function nextAlarmStep(
  batch: StoredBatch | undefined,
  jobs: readonly StoredJob[],
  isLocal: () => boolean,
  nowMs: number,
): AlarmStep {
  if (batch === undefined) return { kind: "delete" };
  const expiresMs = batch.created * 1000 + RETENTION_MS;
  if (nowMs >= expiresMs) return { kind: "delete" };
  const unfinished = isLocal() ? unfinishedJobs(batch, jobs) : [];
  if (unfinished.length === 0) return { kind: "sleep", untilMs: expiresMs };
  const untilMs = Math.min(nowMs + LOCAL_CHECK_MS, expiresMs);
  return { kind: "watch", untilMs, jobs: unfinished };
}

/** Returns the jobs whose Workflows have work left: a generation, or the delivery of the webhook. */
function unfinishedJobs({ delivery }: StoredBatch, jobs: readonly StoredJob[]): string[] {
  const deliverer = delivery !== undefined && isDue(delivery) ? delivery.deliverer : undefined;
  return jobs
    .filter(({ id, outcome }) => outcome === undefined || id === deliverer)
    .map(({ id }) => id);
}

/** Returns true if a delivery attempt follows. */
function isDue({ attempts, nextAttemptAt }: StoredDelivery): boolean {
  const last = attempts.at(-1);
  return last === undefined || (!isFinal(last.outcome) && nextAttemptAt !== undefined);
}
