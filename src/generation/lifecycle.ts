import type { Reservation } from "../access/accounts.ts";
import { belongsToAnotherSender } from "./identity.ts";
import type { PartialImage, Progress, StartRequest, StartResponse } from "./protocol.ts";
import type { StoredGeneration } from "./storage.ts";

/*
 * The life of a generation, as rules: stored state and time in, next step out. No I/O, no clock.
 *
 * queued → dispatched → done | failed. Settling and copying to KV follow the end, and the alarm retries
 * them. When all generations have ended and expired, the object deletes everything.
 */

/** A failed settlement or copy is retried after 1 s, 2 s, 4 s …, for about nine minutes. */
const FIRST_RETRY_DELAY_MS = 1000;
const MAX_ATTEMPTS = 10;

/** The time for which a location of KV may report a moderation block as missing after an early lookup. */
const BLOCK_MS = 60_000;

/**
 * Returns a new generation: queued, or failed if an account rejects it.
 *
 * @param created Unix seconds
 */
export function newGeneration(
  id: string,
  request: StartRequest,
  { failure, amount }: Reservation,
  created: number,
): StoredGeneration {
  return {
    id,
    created,
    state: failure === undefined ? "queued" : "failed",
    job: request,
    reserved: amount,
    record: undefined,
    slots: [],
    failure,
    endedMs: undefined,
    settled: false,
    copied: !request.store,
    attempts: 0,
  };
}

/** The next step of an alarm. */
export type Step =
  | { kind: "dispatch" | "settle" | "copy"; generation: StoredGeneration }
  /** Wait for the alarm at this time, Unix milliseconds. */
  | { kind: "sleep"; untilMs: number }
  /** Another request has started a generation meanwhile and has set the alarm for it. */
  | { kind: "stop" }
  /** Everything has expired. */
  | { kind: "delete" };

/**
 * Returns the next step of an alarm.
 *
 * @param generations all that the object stores
 * @param tried the steps of this alarm so far, by `stepName`: each is tried once
 * @param nowMs Unix milliseconds
 */
export function nextStep(
  generations: readonly StoredGeneration[],
  tried: ReadonlySet<string>,
  nowMs: number,
): Step {
  const current = generations.find(({ state }) => state !== "failed");
  // One upstream call for each alarm: two may take longer than an alarm may run.
  if (current?.state === "queued" && tried.size === 0) {
    return { kind: "dispatch", generation: current };
  }
  const unsettled = generations.filter(({ endedMs, settled }) => endedMs !== undefined && !settled);
  const due = unsettled.find((generation) => !tried.has(stepName("settle", generation)));
  if (due !== undefined) return { kind: "settle", generation: due };
  if (current?.state === "queued") return { kind: "stop" };
  const needsCopy = current !== undefined && !current.copied;
  if (needsCopy && current.state === "done" && !tried.has(stepName("copy", current))) {
    return { kind: "copy", generation: current };
  }
  const unfinished = needsCopy ? [current, ...unsettled] : unsettled;
  if (unfinished.length > 0) {
    const attempts = Math.max(...unfinished.map((generation) => generation.attempts));
    return { kind: "sleep", untilMs: nowMs + FIRST_RETRY_DELAY_MS * 2 ** (attempts - 1) };
  }
  const expiresMs = expiresAtMs(generations);
  return expiresMs !== undefined && nowMs < expiresMs
    ? { kind: "sleep", untilMs: expiresMs }
    : { kind: "delete" };
}

/** Names a step of a generation. */
export function stepName(kind: Step["kind"], { id }: StoredGeneration): string {
  return `${kind} ${id}`;
}

/**
 * Returns when the last generation expires, Unix milliseconds; `undefined` if none has ended. The time
 * counts from the copy to KV, because until then only this object can serve it.
 */
function expiresAtMs(generations: readonly StoredGeneration[]): number | undefined {
  const times = generations.flatMap(({ endedMs, copiedMs = 0, job }) =>
    endedMs === undefined ? [] : Math.max(endedMs, copiedMs) + job.keepSeconds * 1000,
  );
  return times.length === 0 ? undefined : Math.max(...times);
}

/**
 * Returns true if a generation's upstream call was in flight when its instance died. The outcome is
 * unknown, so a retry could pay twice.
 *
 * @param dispatchingId the id of the generation whose upstream call is in flight in this instance
 */
export function isOrphaned(
  current: StoredGeneration | undefined,
  dispatchingId: string | undefined,
): current is StoredGeneration {
  return current?.state === "dispatched" && current.id !== dispatchingId;
}

/** Returns true if a request may join a generation: it is in progress, or not older than accepted. */
export function isJoinable(
  { record }: StoredGeneration,
  maxAgeSeconds: number,
  nowSeconds: number,
): boolean {
  return record === undefined || nowSeconds - record.created <= maxAgeSeconds;
}

/**
 * Returns the moderation block of the last minute, the newest; `undefined` if there is none.
 *
 * @param identity of the sender of the request: a block of another sender does not count
 */
export function recentModerationBlock(
  generations: readonly StoredGeneration[],
  identity: string | undefined,
  nowMs: number,
): StoredGeneration | undefined {
  return generations.findLast(
    ({ failure, endedMs = 0 }) =>
      failure?.code === "moderation_blocked" &&
      !belongsToAnotherSender(failure, identity) &&
      endedMs >= nowMs - BLOCK_MS,
  );
}

/**
 * Returns the changes after a failed attempt. After the last one, an open reservation counts as spent, and
 * only the object has the images.
 */
export function afterFailure(
  kind: "settle" | "copy",
  { attempts }: StoredGeneration,
  nowMs: number,
): Partial<StoredGeneration> {
  const isLast = attempts + 1 >= MAX_ATTEMPTS;
  if (!isLast) return { attempts: attempts + 1 };
  return {
    attempts: attempts + 1,
    ...(kind === "settle" ? { settled: true } : { copied: true, copiedMs: nowMs }),
  };
}

export function hasEnded({ state }: StoredGeneration): boolean {
  return state === "done" || state === "failed";
}

/** Returns the progress of a generation with the partial images that a client has not seen. */
export function progressOf(generation: StoredGeneration, partials: PartialImage[]): Progress {
  const { id, created, state, record, failure } = generation;
  return {
    id,
    created,
    state: state === "dispatched" ? "in_progress" : state,
    partials,
    ...(record === undefined ? {} : { record }),
    ...(failure === undefined ? {} : { failure }),
  };
}

/**
 * Returns the response to a start.
 *
 * @param joined true if an earlier request started the generation
 */
export function startResponse(generation: StoredGeneration, joined: boolean): StartResponse {
  const { identity } = generation.job;
  return { ...progressOf(generation, []), joined, ...(identity === undefined ? {} : { identity }) };
}
