import { isJoinable, recentModerationBlock } from "./lifecycle.ts";
import type { Decision } from "./notes.ts";
import type { PartialImage, Progress, StartRequest, StartResponse } from "./protocol.ts";
import type { StoredGeneration } from "./storage.ts";

/* The responses of a Generation object, as rules: stored state and time in, response out. No I/O, no clock. */

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

/**
 * Returns the response to a start without starting a generation: the one that the object has, or the recent
 * moderation block. `undefined` if a generation may start.
 *
 * @param isRetry true if an earlier call of the same start may have arrived
 * @param nowMs Unix milliseconds
 */
export function existingResponse(
  { current, generations }: StoredGenerations,
  request: StartRequest,
  isRetry: boolean,
  nowMs: number,
): StartResponse | undefined {
  const earlier = isRetry ? earlierStart(generations(), request, nowMs) : undefined;
  if (earlier !== undefined) return earlier;
  if (current !== undefined) {
    const response = startResponse(current, true);
    const isAccepted = isJoinable(current, request, Math.floor(nowMs / 1000));
    return isAccepted ? response : { ...response, isUnacceptable: true };
  }
  const block = recentModerationBlock(generations(), request.identity, nowMs);
  return block && startResponse(block, true);
}

/** The generations that an object stores. */
interface StoredGenerations {
  /** The one that has not failed. */
  current: StoredGeneration | undefined;
  /** Reads all of them. */
  generations: () => readonly StoredGeneration[];
}

/** The time in which a call to an object that died is retried. */
const RETRY_MS = 10_000;

/**
 * Returns the response to the earlier call of a start that is retried: the generation that it started, or the
 * failure of the one that it may have joined. `undefined` if it may not have arrived.
 *
 * The retry starts no generation where an earlier one may have been charged: that could pay twice.
 */
function earlierStart(
  generations: readonly StoredGeneration[],
  { attempt }: StartRequest,
  nowMs: number,
): StartResponse | undefined {
  const started = generations.find(({ job }) => attempt !== undefined && job.attempt === attempt);
  if (started !== undefined) return startResponse(started, false);
  const orphan = generations.find(
    ({ failure, endedMs = 0 }) =>
      failure?.code === "upstream_outcome_unknown" && nowMs - endedMs <= RETRY_MS,
  );
  return orphan && { ...startResponse(orphan, true), collapsed: true };
}

/**
 * Returns the response to a start that was rejected.
 *
 * @param created Unix seconds
 */
export function rejectedStart(
  id: string,
  decision: Exclude<Decision, { kind: "begun" }>,
  created: number,
): StartResponse {
  const rejected = { id, created, state: "failed" as const, partials: [], joined: false };
  return decision.kind === "held"
    ? { ...rejected, heldBy: decision.generationId }
    : { ...rejected, failure: decision.failure };
}
