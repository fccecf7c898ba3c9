import { version } from "../../package.json";
import { mayDeliverTo } from "../access/webhook-url.ts";
import type { Config } from "../config/environment.ts";
import type { AttemptOutcome } from "../contract/job.ts";
import { retryAfterSeconds } from "../lib/retry-after.ts";
import { signWebhook } from "./signature.ts";

/** What is to be told, and to whom. */
export interface Delivery {
  url: string;
  /** The same on every attempt. */
  eventId: string;
  body: string;
}

/** What came of one attempt. */
export interface Attempt {
  /** Unix seconds. */
  at: number;
  outcome: AttemptOutcome;
  /** What the receiver answered, where it did. */
  status: number | undefined;
  /** How long the receiver wants to be left alone. */
  retryAfterSeconds: number | undefined;
}

const ATTEMPT_TIMEOUT_MS = 15_000;

/** From each attempt to the next (contract.md: Standard Webhooks' own schedule). */
const PAUSES_SECONDS = [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600] as const;
const LONGEST_PAUSE_SECONDS = Math.max(...PAUSES_SECONDS);

/**
 * How long to wait after an attempt that failed: what the schedule has, or what the receiver asked for,
 * if that is longer, up to the schedule's longest.
 *
 * @param attempt attempts made so far, from 1
 * @returns seconds; `undefined` when that was the last
 */
export function pauseSeconds(
  attempt: number,
  retryAfterSeconds: number | undefined,
): number | undefined {
  const scheduled = PAUSES_SECONDS[attempt - 1];
  if (scheduled === undefined) return undefined;
  return Math.min(Math.max(scheduled, retryAfterSeconds ?? 0), LONGEST_PAUSE_SECONDS);
}

/** Whether there is nothing to try again. */
export function isFinal(outcome: AttemptOutcome): boolean {
  return outcome === "delivered" || outcome === "gone";
}

/** Calls back once. Never throws: whatever happens is an outcome. */
export async function attemptDelivery(
  { url, eventId, body }: Delivery,
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
      // Whoever may be called is known by its host: nobody is sent on to another.
      redirect: "manual",
      headers: {
        "content-type": "application/json",
        "user-agent": `darkroom/${version}`,
        ...signWebhook(eventId, body, startedMs, config.webhookSigningSecrets),
      },
      body,
      signal,
    });
    // What a receiver has to say beside its status is of no use here.
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
