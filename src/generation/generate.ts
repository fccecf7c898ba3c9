import type { Cache } from "../cache/cache.ts";
import type { Config } from "../config.ts";
import type { GenerationRecord } from "../contract/record.ts";
import type { ImageRequest } from "../contract/request.ts";
import { GatewayError } from "../errors.ts";
import type { CacheDirectives } from "../lib/cache-control.ts";
import { readAll } from "../lib/streams.ts";
import type { RequestEvent } from "../telemetry/event.ts";
import { errorFields, log } from "../telemetry/log.ts";
import { dispatch } from "../upstream/client.ts";
import { requestKey } from "./key.ts";
import { newRecord } from "./record.ts";

/** A generation as it is handed to whoever answers. */
export interface Generation {
  record: GenerationRecord;
  /** One for each image, in order; empty on a hit that is answered by URL. */
  images: readonly ImageSource[];
  /** Whether the images can be had by URL from now on. */
  kept: boolean;
  outcome: CacheOutcome;
}

/** An image that is read only when its turn comes, and only once. */
export type ImageSource = () => Promise<Uint8Array>;

/** What the cache did, for Cache-Status and Age. */
export type CacheOutcome =
  | { kind: "hit"; ageSeconds: number; ttlSeconds: number }
  | { kind: "miss"; stored: boolean }
  /** The client would not have what is kept. */
  | { kind: "request"; stored: boolean };

export interface GenerateContext {
  config: Config;
  cache: Cache;
  event: RequestEvent;
}

/**
 * Answers a request from the cache where it was made before and the client will have that, and has
 * it made otherwise.
 *
 * @throws {GatewayError} `not_cached` where the client forbids to make it; whatever `dispatch` throws
 */
export async function generate(
  request: ImageRequest,
  directives: CacheDirectives,
  context: GenerateContext,
): Promise<Generation> {
  const { config, event } = context;
  const key = await requestKey(request, config.upstream.baseUrl);
  const wantsKept = !directives.noStore && !directives.noCache;

  const found = wantsKept
    ? await event.time("cache", () => findKept(key, request, context))
    : undefined;
  const isFresh = found !== undefined && found.outcome.ageSeconds <= maxAge(directives);
  if (found !== undefined && isFresh) return found;
  if (directives.onlyIfCached) throw new GatewayError({ code: "not_cached" });

  const made = await event.time("upstream", () =>
    dispatch(request, config.upstream, config.localDevelopment),
  );
  const record = newRecord(request, made, nowSeconds());
  const bytes = made.images.map((image) => image.bytes);
  const stored =
    !directives.noStore && (await event.time("cache", () => store(key, record, bytes, context)));
  return {
    record,
    images: bytes.map((image) => () => Promise.resolve(image)),
    kept: stored,
    outcome: { kind: wantsKept && found === undefined ? "miss" : "request", stored },
  };
}

type Hit = Generation & { outcome: { kind: "hit"; ageSeconds: number; ttlSeconds: number } };

/** What is kept for a key, ready to be answered; a store that fails has nothing. */
async function findKept(
  key: string,
  request: ImageRequest,
  { cache, config, event }: GenerateContext,
): Promise<Hit | undefined> {
  try {
    const record = await cache.recordByKey(key);
    if (record === undefined) return undefined;
    const ageSeconds = Math.max(0, nowSeconds() - record.created);
    const ttlSeconds = config.cacheTtlSeconds - ageSeconds;
    if (ttlSeconds <= 0) return undefined;
    const images = request.response_format === "url" ? [] : await openImages(record, cache);
    if (images === undefined) return undefined;
    return { record, images, kept: true, outcome: { kind: "hit", ageSeconds, ttlSeconds } };
  } catch (error) {
    log("error", "cache_read_failed", { request_id: event.requestId, ...errorFields(error) });
    return undefined;
  }
}

/**
 * Opens all images before the first byte of an answer is sent, so that a record whose images are
 * gone is a miss and not a broken answer. Each is read when its turn comes.
 */
async function openImages(
  record: GenerationRecord,
  cache: Cache,
): Promise<ImageSource[] | undefined> {
  const found = await Promise.all(record.images.map((_, index) => cache.image(record.id, index)));
  const images = found.filter((image) => image !== undefined);
  if (images.length === found.length) {
    return images.map((image) => () => readAll(image.body, image.sizeBytes));
  }
  await Promise.all(images.map((image) => image.body.cancel()));
  return undefined;
}

/** Whether it was kept. The picture is paid for: a store that fails must not cost it. */
async function store(
  key: string,
  record: GenerationRecord,
  images: readonly Uint8Array[],
  { cache, event }: GenerateContext,
): Promise<boolean> {
  try {
    await cache.store(key, record, images);
    return true;
  } catch (error) {
    log("error", "cache_write_failed", { request_id: event.requestId, ...errorFields(error) });
    return false;
  }
}

function maxAge({ maxAgeSeconds }: CacheDirectives): number {
  return maxAgeSeconds ?? Number.POSITIVE_INFINITY;
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
