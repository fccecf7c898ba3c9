import type { GenerationRecord } from "../contract/record.ts";
import { GatewayError } from "../errors/failure.ts";
import { nowSeconds } from "../lib/clock.ts";
import type { Completion, GenerationClient } from "./client.ts";

/** The generation for a request. */
export type GenerationResult = CompletedGeneration | PendingGeneration;

/** A generation whose images exist. */
export interface CompletedGeneration {
  kind: "completed";
  record: GenerationRecord;
  /** One for each image, in order; empty if the images were not requested. */
  images: readonly ImageSource[];
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

/** How long one call to the Durable Object waits. */
const POLL_MS = 30_000;

/** How to wait for a generation to complete. */
export interface WaitOptions {
  /** Infinite if absent. The client bounds the time in any case. */
  waitMs?: number;
  /** True if the images will be read. */
  withImages: boolean;
}

/**
 * Waits until a generation has completed. Returns `undefined` if the time passes first.
 *
 * @throws {GatewayError} the failure of the generation; `generation_not_found` if it was deleted
 */
export async function awaitCompletion(
  { client, outcome }: PendingGeneration,
  { waitMs = Number.POSITIVE_INFINITY, withImages }: WaitOptions,
): Promise<CompletedGeneration | undefined> {
  const waiting = { partialImages: false, withImages, waitMs, pollMs: POLL_MS };
  for await (const update of client.updates(waiting)) {
    if (update.kind === "completed") return completedGeneration(update, client, outcome);
  }
  return undefined;
}

/**
 * Returns a generation that has completed in its Durable Object.
 *
 * @param completed its record, and its images if the object has sent them
 */
export function completedGeneration(
  { record, images: opened }: Completion,
  client: GenerationClient,
  outcome: CacheOutcome,
): CompletedGeneration {
  const images = record.images.map((_, index) => async () => {
    const body = opened?.[index] ?? (await client.image(index))?.body;
    if (body === undefined) throw new GatewayError({ code: "generation_not_found" });
    return body;
  });
  return { kind: "completed", record, images, outcome };
}

/** Returns the outcome of a response from a stored record. */
export function hitOutcome(
  record: GenerationRecord,
  { cacheTtlSeconds }: { cacheTtlSeconds: number },
): Hit {
  const ageSeconds = Math.max(0, nowSeconds() - record.created);
  return { kind: "hit", ageSeconds, ttlSeconds: cacheTtlSeconds - ageSeconds };
}
