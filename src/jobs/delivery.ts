import { version } from "../../package.json";
import { mayDeliverTo } from "../access/webhook-url.ts";
import type { Config } from "../config/environment.ts";
import type { AttemptOutcome } from "../contract/job.ts";
import { retryAfterSeconds } from "../lib/retry-after.ts";
import { signWebhook } from "./signature.ts";

/** A webhook to deliver. */
export interface WebhookDelivery {
  url: string;
  /** The `webhook-id` header, the same on every attempt. */
  eventId: string;
  body: string;
}

/** One delivery attempt and its outcome. */
export interface Attempt {
  /** Unix seconds. */
  at: number;
  outcome: AttemptOutcome;
  /** The status of the receiver's response; `undefined` without a response. */
  status: number | undefined;
  /** The receiver's Retry-After; `undefined` if absent. */
  retryAfterSeconds: number | undefined;
}

const ATTEMPT_TIMEOUT_MS = 15_000;

/** The pause after each failed attempt, on the schedule of Standard Webhooks. */
const PAUSES_SECONDS = [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600] as const;
const LONGEST_PAUSE_SECONDS = Math.max(...PAUSES_SECONDS);

/**
 * Returns the pause after a failed attempt: the scheduled one, or the receiver's Retry-After if that
 * is longer. The longest pause of the schedule is the upper bound.
 *
 * @param attempt number of attempts so far, from 1
 * @returns seconds; `undefined` after the last attempt
 */
export function pauseSeconds(
  attempt: number,
  retryAfterSeconds: number | undefined,
): number | undefined {
  const scheduled = PAUSES_SECONDS[attempt - 1];
  if (scheduled === undefined) return undefined;
  return Math.min(Math.max(scheduled, retryAfterSeconds ?? 0), LONGEST_PAUSE_SECONDS);
}

/** Returns true if an outcome is final: no further attempt follows. */
export function isFinal(outcome: AttemptOutcome): boolean {
  return outcome === "delivered" || outcome === "gone";
}

/** Sends a webhook once. Never throws: every error is an outcome. */
export async function attemptDelivery(
  { url, eventId, body }: WebhookDelivery,
  config: Config,
  timeoutMs = ATTEMPT_TIMEOUT_MS,
): Promise<Attempt> {
  const startedMs = Date.now();
  const at = Math.floor(startedMs / 1000);
  const attempt = { at, status: undefined, retryAfterSeconds: undefined };
  if (!mayDeliverTo(url, config)) return { ...attempt, outcome: "not_allowed" };
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(url, {
      method: "POST",
      // Only the host of this URL was checked. A redirect could lead to any other host.
      redirect: "manual",
      headers: {
        "content-type": "application/json",
        "user-agent": `darkroom/${version}`,
        ...signWebhook(eventId, body, startedMs, config.webhookSigningSecrets),
      },
      body,
      signal,
    });
    // Only the status and the headers of the response are used.
    await response.body?.cancel();
    const { status } = response;
    const retryAfter = retryAfterSeconds(response.headers.get("retry-after"), Date.now());
    return { at, outcome: outcomeOf(response), status, retryAfterSeconds: retryAfter };
  } catch {
    return { ...attempt, outcome: signal.aborted ? "timeout" : "unreachable" };
  }
}

function outcomeOf({ ok, status }: Response): AttemptOutcome {
  if (ok) return "delivered";
  return status === 410 ? "gone" : "failed";
}
