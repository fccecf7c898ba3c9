import type { MicroDollars } from "../contract/pricing.ts";
import { isPartial, type GenerationRecord } from "../contract/record.ts";
import { belongsToAnotherSender } from "./identity.ts";
import type { NewestRecord, Reserving, Tombstone } from "./notes.ts";
import type { StartRequest } from "./protocol.ts";
import type { StoredGeneration } from "./storage.ts";

/*
 * The life of a generation, as rules: stored state and time in, next step out. No I/O, no clock.
 *
 * reserving → queued → dispatched → done | failed. Settling and copying to KV follow the end, and the alarm
 * retries them. When all generations have ended and expired, the object deletes everything.
 */

/** A failed settlement or copy is retried after 1 s, 2 s, 4 s …, for about nine minutes. */
const FIRST_RETRY_DELAY_MS = 1000;
const MAX_ATTEMPTS = 10;

/** The time for which a location of KV may report a moderation block as missing after an early lookup. */
const BLOCK_MS = 60_000;

/** After this time, the alarm releases what the start of an instance that died may have reserved. */
export const RESERVING_MS = 30_000;

/** How long the object remembers what it has written to KV or deleted: longer than KV caches a read. */
export const MEMORY_MS = 10 * 60 * 1000;

/**
 * Returns a new generation, which is queued.
 *
 * @param amount the reserved amount
 * @param created Unix seconds
 */
export function newGeneration(
  id: string,
  request: StartRequest,
  amount: MicroDollars,
  created: number,
): StoredGeneration {
  return {
    id,
    created,
    state: "queued",
    job: request,
    reserved: amount,
    record: undefined,
    slots: [],
    failure: undefined,
    endedMs: undefined,
    settled: false,
    copied: !request.store,
    attempts: 0,
  };
}

/** What the object stores, as far as its next step depends on it. */
export interface ObjectState {
  generations: readonly StoredGeneration[];
  /** The starts of earlier instances that were never decided. */
  reserving: readonly Reserving[];
  tombstones: readonly Tombstone[];
  newest: NewestRecord | undefined;
}

/** A step of an alarm that changes something. */
export type WorkStep =
  | { kind: "dispatch" | "settle" | "copy"; item: StoredGeneration }
  /** Release what an undecided start may have reserved. */
  | { kind: "release"; item: Reserving }
  /** Delete the entries of a deleted generation in KV. */
  | { kind: "purge"; item: Tombstone };

/** The next step of an alarm. */
export type Step =
  | WorkStep
  /** Wait for the alarm at this time, Unix milliseconds. */
  | { kind: "sleep"; untilMs: number }
  /** Another request has started a generation meanwhile and has set the alarm for it, or it is in progress. */
  | { kind: "stop" }
  /** Everything has expired. */
  | { kind: "delete" };

/**
 * Returns the next step of an alarm.
 *
 * @param tried the steps of this alarm so far, by `stepName`: each is tried once
 * @param nowMs Unix milliseconds
 */
export function nextStep(
  { generations, reserving, tombstones, newest }: ObjectState,
  tried: ReadonlySet<string>,
  nowMs: number,
): Step {
  const isUntried = (kind: Step["kind"]) => (item: { id: string }) =>
    !tried.has(stepName(kind, item));
  const undecided = reserving.find(isUntried("release"));
  if (undecided !== undefined) return { kind: "release", item: undecided };
  const current = generations.find(({ state }) => state !== "failed");
  const isQueued = current?.state === "queued";
  // One upstream call for each alarm: two may take longer than an alarm may run.
  const hasDispatched = [...tried].some((name) => name.startsWith(stepName("dispatch", NO_ID)));
  if (isQueued && !hasDispatched) return { kind: "dispatch", item: current };
  const unsettled = generations.filter(({ endedMs, settled }) => endedMs !== undefined && !settled);
  const due = unsettled.find(isUntried("settle"));
  if (due !== undefined) return { kind: "settle", item: due };
  if (current !== undefined && !hasEnded(current)) return { kind: "stop" };
  const uncopied = current === undefined || current.copied ? [] : [current];
  const toCopy = uncopied.find(isUntried("copy"));
  if (toCopy !== undefined) return { kind: "copy", item: toCopy };
  const toPurge = tombstones.filter(({ dueMs }) => dueMs <= nowMs).find(isUntried("purge"));
  if (toPurge !== undefined) return { kind: "purge", item: toPurge };
  const attempts = [
    ...unsettled.map((each) => attemptsOf("settle", each)),
    ...uncopied.map((each) => attemptsOf("copy", each)),
    ...reserving.map((each) => each.attempts),
  ];
  const times = [
    ...attempts.map((each) => retryAtMs(each, nowMs)),
    ...tombstones.map(({ dueMs }) => dueMs),
  ];
  if (times.length > 0) return { kind: "sleep", untilMs: Math.max(nowMs + 1, Math.min(...times)) };
  const expiresMs = expiresAtMs(generations, newest);
  return nowMs < expiresMs ? { kind: "sleep", untilMs: expiresMs } : { kind: "delete" };
}

const NO_ID = { id: "" };

function retryAtMs(attempts: number, nowMs: number): number {
  return nowMs + FIRST_RETRY_DELAY_MS * 2 ** Math.max(0, attempts - 1);
}

/** Names a step for a generation. */
export function stepName(kind: Step["kind"], { id }: { id: string }): string {
  return `${kind} ${id}`;
}

/**
 * Returns when everything has expired, Unix milliseconds. The time of a generation counts from the copy to KV,
 * because until then only this object can serve it.
 */
function expiresAtMs(
  generations: readonly StoredGeneration[],
  newest: NewestRecord | undefined,
): number {
  const times = generations.flatMap(({ endedMs, copiedMs = 0, job }) =>
    endedMs === undefined ? [] : Math.max(endedMs, copiedMs) + job.keepSeconds * 1000,
  );
  return Math.max(0, ...times, newest === undefined ? 0 : newest.writtenMs + MEMORY_MS);
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

/**
 * Returns true if a request may join a generation: it is in progress, or complete and not older than accepted.
 * One with fewer images than requested is joined by its own request only.
 */
export function isJoinable(
  { record, job }: StoredGeneration,
  { maxAgeSeconds, isOwn = false }: Pick<StartRequest, "maxAgeSeconds" | "isOwn">,
  nowSeconds: number,
): boolean {
  if (record === undefined || isOwn) return true;
  return !isPartial(record, job.request.n) && nowSeconds - record.created <= maxAgeSeconds;
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

/** A step after the end of a generation that is retried. Each has attempts of its own. */
export type RetriedStep = "settle" | "copy";

/** Returns the number of failed attempts of a step. */
export function attemptsOf(
  kind: RetriedStep,
  { attempts, copyAttempts = 0 }: StoredGeneration,
): number {
  return kind === "settle" ? attempts : copyAttempts;
}

/**
 * Returns the changes after a failed attempt. After the last one, an open reservation counts as spent, and
 * only the object has the images.
 */
export function afterFailure(
  kind: RetriedStep,
  generation: StoredGeneration,
  nowMs: number,
): Partial<StoredGeneration> {
  const attempts = attemptsOf(kind, generation) + 1;
  const isLast = attempts >= MAX_ATTEMPTS;
  return kind === "settle"
    ? { attempts, ...(isLast ? { settled: true } : {}) }
    : { copyAttempts: attempts, ...(isLast ? { copied: true, copiedMs: nowMs } : {}) };
}

/** Returns the tombstone of a generation that is deleted now. Its entries in KV are deleted at once. */
export function newTombstone(
  { id, job }: StoredGeneration,
  record: GenerationRecord,
  nowMs: number,
): Tombstone {
  const { key } = job;
  return { id, key, record, deletedMs: nowMs, dueMs: nowMs, isLast: false, attempts: 0 };
}

/**
 * Returns a tombstone after a deletion in KV; `undefined` once it has expired. The entries are deleted again ten
 * minutes later, because a write of an instance that died may have arrived meanwhile.
 *
 * @param succeeded false if KV rejected a deletion
 */
export function afterPurge(
  tombstone: Tombstone,
  succeeded: boolean,
  nowMs: number,
): Tombstone | undefined {
  const { deletedMs, isLast } = tombstone;
  const attempts = succeeded ? 0 : tombstone.attempts + 1;
  if (!succeeded && attempts < MAX_ATTEMPTS) {
    return { ...tombstone, attempts, dueMs: retryAtMs(attempts, nowMs) };
  }
  if (isLast) return undefined;
  return { ...tombstone, attempts: 0, isLast: true, dueMs: deletedMs + MEMORY_MS };
}

/** Returns an undecided start after a failed release; `undefined` after the last attempt. */
export function afterFailedRelease(reserving: Reserving): Reserving | undefined {
  const attempts = reserving.attempts + 1;
  return attempts < MAX_ATTEMPTS ? { ...reserving, attempts } : undefined;
}

/**
 * Returns true if a record replaces another one under their request key: it is not older. Of two records of the
 * same second the one that arrives later does.
 */
export function replaces(
  record: Pick<GenerationRecord, "created">,
  other: Pick<GenerationRecord, "created"> | undefined,
): boolean {
  return other === undefined || record.created >= other.created;
}

export function hasEnded({ state }: StoredGeneration): boolean {
  return state === "done" || state === "failed";
}
