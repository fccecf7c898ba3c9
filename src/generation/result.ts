import { isPartial, type GenerationRecord } from "../contract/record.ts";
import { failureOf, GatewayError, type Failure } from "../errors/failure.ts";
import { nowSeconds } from "../lib/clock.ts";
import type { Completion, GenerationClient, UpdateOptions } from "./client.ts";
import { OPEN_IMAGES, type PartialImage, type Progress } from "./protocol.ts";

/** The generation for a request. */
export type GenerationResult = CompletedGeneration | PendingGeneration;

/** A generation whose images exist. */
export interface CompletedGeneration {
  kind: "completed";
  record: GenerationRecord;
  /** One for each image, in order; empty if the images were not requested. */
  images: readonly ImageSource[];
  /** True if the Durable Object has the images. */
  isInObject?: boolean;
  outcome: CacheOutcome;
}

/** Opens an image as a native stream. Called once, when the image is sent. */
export type ImageSource = () => Promise<ReadableStream<Uint8Array>>;

/** A generation that is queued or in progress in its Durable Object. */
export interface PendingGeneration {
  kind: "pending";
  /** True if the upstream has been called. */
  isRunning: boolean;
  /** Unix seconds. */
  created: number;
  client: GenerationClient;
  outcome: CacheOutcome;
  /** The number of requested images. Absent if the request is not known, and for one that joined. */
  n?: number;
  /** Present if another sender started it. */
  joiner?: Joiner;
}

/** A request that joined the generation of another sender. */
export interface Joiner {
  /** Joins or starts the next generation if the failure belongs to the other sender; otherwise `undefined`. */
  onFailure(failure: Failure): Promise<GenerationResult | undefined>;
}

/** A response from the cache. */
export interface Hit {
  kind: "hit";
  /** The seconds since the generation. */
  ageSeconds: number;
  /** The seconds until the record expires in KV. */
  ttlSeconds: number;
}

/** The outcome in the cache: the Cache-Status and Age of the response. */
export type CacheOutcome =
  | Hit
  /** `bypass`: the client does not accept the cached response. */
  | { kind: "miss" | "bypass"; collapsed: boolean; stored: boolean };

export function generationIdOf(result: GenerationResult): string {
  return result.kind === "completed" ? result.record.id : result.client.id;
}

/** Returns true if a request joined a generation that another one started. */
export function isCollapsed(outcome: CacheOutcome): boolean {
  return outcome.kind !== "hit" && outcome.collapsed;
}

/** News of a generation that a request waits for, in order. */
export type ResultUpdate =
  /** Nothing new for one poll. */
  | { kind: "waiting" }
  | { kind: "partial"; partial: PartialImage; open: ImageSource }
  /** Another generation takes its place, because the failure of the first one belongs to another sender. */
  | { kind: "restarted"; pending: PendingGeneration }
  /** The last one. */
  | { kind: "completed"; generation: CompletedGeneration };

/**
 * Waits for a generation and yields its updates. Ends after `completed`, or without it after `waitMs`.
 *
 * @throws {GatewayError} the failure of the generation; `generation_not_found` if it was deleted
 */
export async function* updatesOf(
  { client, outcome, n, joiner }: PendingGeneration,
  options: UpdateOptions,
): AsyncGenerator<ResultUpdate, void> {
  const untilMs = Date.now() + options.waitMs;
  try {
    for await (const update of client.updates(options)) {
      switch (update.kind) {
        case "waiting":
          yield update;
          break;
        case "partial": {
          const { partial } = update;
          yield { ...update, open: () => client.partialImage(partial) };
          break;
        }
        case "completed": {
          // With fewer images than requested, the record is not stored under the request key.
          const isUnstored = n !== undefined && isPartial(update.record, n);
          const ended = isUnstored ? { ...outcome, stored: false } : outcome;
          const generation = completedGeneration(update, client, ended);
          yield { kind: "completed", generation };
        }
      }
    }
  } catch (error) {
    const next = await joiner?.onFailure(failureOf(error));
    if (next === undefined) throw error;
    if (next.kind === "completed") {
      yield { kind: "completed", generation: next };
    } else {
      yield { kind: "restarted", pending: next };
      yield* updatesOf(next, { ...options, waitMs: untilMs - Date.now() });
    }
  }
}

/** How long one call to the Durable Object waits. */
export const POLL_MS = 30_000;

/** How to wait for a generation to complete. */
export interface WaitOptions {
  /** May be infinite. The client bounds the time in any case. */
  waitMs: number;
  /** True if the images will be read. */
  withImages: boolean;
}

/**
 * Waits until a generation has completed.
 *
 * @throws {GatewayError} the failure of the generation; `generation_not_found` if it was deleted
 */
export async function awaitCompletion(
  pending: PendingGeneration,
  { withImages }: Pick<WaitOptions, "withImages">,
): Promise<CompletedGeneration> {
  const result = await awaitAtMost(pending, { waitMs: Number.POSITIVE_INFINITY, withImages });
  if (result.kind === "pending") throw new GatewayError({ code: "upstream_outcome_unknown" });
  return result;
}

/**
 * Waits until a generation has completed, or until the time passes. Returns it as it is then.
 *
 * @throws {GatewayError} the failure of the generation; `generation_not_found` if it was deleted
 */
export async function awaitAtMost(
  pending: PendingGeneration,
  { waitMs, withImages }: WaitOptions,
): Promise<GenerationResult> {
  let result: GenerationResult = pending;
  const waiting = { partialImages: false, withImages, waitMs, pollMs: POLL_MS };
  for await (const update of updatesOf(pending, waiting)) {
    if (update.kind === "completed") result = update.generation;
    if (update.kind === "restarted") result = update.pending;
  }
  return result;
}

/**
 * Returns a generation that has completed in its Durable Object. All its images are opened with the first one, so
 * that a later deletion does not cut the response.
 *
 * @param completed its record, and its images if the object has sent them
 */
export function completedGeneration(
  { record, images: opened }: Completion,
  client: GenerationClient,
  outcome: CacheOutcome,
): CompletedGeneration {
  let opening: Promise<Pick<Progress, "images"> | undefined> | undefined;
  const images = record.images.map((_, index) => async () => {
    opening ??=
      opened === undefined ? client.progress(OPEN_IMAGES) : Promise.resolve({ images: opened });
    const body = (await opening)?.images?.[index];
    if (body === undefined) throw new GatewayError({ code: "generation_not_found" });
    return body;
  });
  return { kind: "completed", record, images, isInObject: true, outcome };
}

/** Closes the first image of a cached generation that is not returned: the others are not open yet. */
export async function closeFirstImage({ images }: CompletedGeneration): Promise<void> {
  const [open] = images;
  await (await open?.())?.cancel();
}

/** Returns the outcome of a response from a stored record. */
export function hitOutcome(
  record: GenerationRecord,
  { cacheTtlSeconds }: { cacheTtlSeconds: number },
): Hit {
  const ageSeconds = Math.max(0, nowSeconds() - record.created);
  return { kind: "hit", ageSeconds, ttlSeconds: cacheTtlSeconds - ageSeconds };
}
