import type { Config } from "../config/environment.ts";
import type { GenerationRecord } from "../contract/record.ts";
import { GatewayError } from "../errors/failure.ts";
import { nowSeconds } from "../lib/clock.ts";
import type { GenerationClient } from "./client.ts";
import type { Progress } from "./protocol.ts";

/** A generation that is made, as it is handed to whoever answers. */
export interface CompletedGeneration {
  kind: "made";
  record: GenerationRecord;
  /** One for each image, in order; none where only URLs are asked for. */
  images: readonly ImageSource[];
  outcome: CacheOutcome;
}

/** Opens an image as a native stream: only when its turn comes, and only once. */
export type ImageSource = () => Promise<ReadableStream<Uint8Array>>;

/** A generation that goes on in its object. */
export interface PendingGeneration {
  kind: "pending";
  /** Whether the upstream is at it already. */
  isRunning: boolean;
  /** Unix seconds. */
  created: number;
  handle: GenerationClient;
  outcome: CacheOutcome;
}

export type GenerationResult = CompletedGeneration | PendingGeneration;

/** The id of a generation, wherever it is. */
export function generationIdOf(found: GenerationResult): string {
  return found.kind === "made" ? found.record.id : found.handle.id;
}

export interface Hit {
  kind: "hit";
  ageSeconds: number;
  ttlSeconds: number;
}

/** What the cache did, for Cache-Status and Age. */
export type CacheOutcome =
  | Hit
  /** `request`: the client would not have what is kept. */
  | { kind: "miss" | "request"; collapsed: boolean; stored: boolean };

/** A caller is answered at least this often, and asks again. */
const WAIT_MS = 30_000;

export interface WaitOptions {
  /** Gives up after so long; for ever, within the generation's own time, where absent. */
  waitMs?: number;
  /** Whether its images are going to be read. */
  withImages: boolean;
}

/**
 * Waits for the end of a generation.
 *
 * @throws {GatewayError} what the generation failed with; `generation_not_found` when it is gone
 */
export async function result(
  { handle, outcome }: PendingGeneration,
  { waitMs = Number.POSITIVE_INFINITY, withImages }: WaitOptions,
): Promise<CompletedGeneration | undefined> {
  const untilMs = Date.now() + waitMs;
  for (;;) {
    const progress = await handle.progress({
      // The partial ones are not what it waits for.
      seen: Number.MAX_SAFE_INTEGER,
      waitMs: Math.min(Math.max(0, untilMs - Date.now()), WAIT_MS),
      withImages,
    });
    const made = madeFrom(progress, handle, outcome);
    if (made !== undefined || Date.now() >= untilMs) return made;
  }
}

/**
 * What a generation's progress amounts to: the generation when it is done, `undefined` while it goes
 * on.
 *
 * @throws {GatewayError} what it failed with; `generation_not_found` when it is gone
 */
export function madeFrom(
  progress: Progress | undefined,
  handle: GenerationClient,
  outcome: CacheOutcome,
): CompletedGeneration | undefined {
  if (progress === undefined) throw new GatewayError({ code: "generation_not_found" });
  if (progress.failure !== undefined) throw new GatewayError(progress.failure);
  const { record, images: opened } = progress;
  if (record === undefined) return undefined;
  const images = record.images.map((_, index) => async () => {
    const body = opened?.[index] ?? (await handle.image(index))?.body;
    if (body === undefined) throw new GatewayError({ code: "generation_not_found" });
    return body;
  });
  return { kind: "made", record, images, outcome };
}

/** What stands in Cache-Status and Age for a record that is taken as it is kept. */
export function hitOutcome(record: GenerationRecord, { cacheTtlSeconds }: Config): Hit {
  const ageSeconds = Math.max(0, nowSeconds() - record.created);
  return { kind: "hit", ageSeconds, ttlSeconds: cacheTtlSeconds - ageSeconds };
}
