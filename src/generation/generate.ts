import type { Cache } from "../cache/cache.ts";
import type { Config } from "../config.ts";
import { defaultResponseFormat } from "../contract/models.ts";
import type { GenerationRecord } from "../contract/record.ts";
import type { ImageRequest } from "../contract/request.ts";
import { GatewayError, mayHaveCharged } from "../errors.ts";
import type { CacheDirectives } from "../lib/cache-control.ts";
import { readAll } from "../lib/streams.ts";
import type { RequestEvent } from "../telemetry/event.ts";
import { errorFields, log } from "../telemetry/log.ts";
import {
  findMade,
  handleOf,
  startGeneration,
  type GenerationHandle,
  type ObjectName,
} from "./handle.ts";
import { claimIdempotencyKey, IDEMPOTENCY_SECONDS, type Idempotency } from "./idempotency.ts";
import type { Progress } from "./job.ts";
import { requestKey } from "./key.ts";

/** A generation that is made, as it is handed to whoever answers. */
export interface MadeGeneration {
  kind: "made";
  record: GenerationRecord;
  /** One for each image, in order; none where only URLs are asked for. */
  images: readonly ImageSource[];
  outcome: CacheOutcome;
}

/** An image that is read only when its turn comes, and only once. */
export type ImageSource = () => Promise<Uint8Array>;

/** A generation that goes on in its object. */
export interface PendingGeneration {
  kind: "pending";
  /** Whether the upstream is at it already. */
  isRunning: boolean;
  /** Unix seconds. */
  created: number;
  handle: GenerationHandle;
  outcome: CacheOutcome;
}

export type Found = MadeGeneration | PendingGeneration;

/** What the cache did, for Cache-Status and Age. */
export type CacheOutcome =
  | { kind: "hit"; ageSeconds: number; ttlSeconds: number }
  /** `request`: the client would not have what is kept. */
  | { kind: "miss" | "request"; collapsed: boolean; stored: boolean };

export interface GenerateContext {
  config: Config;
  cache: Cache;
  event: RequestEvent;
}

export interface GenerateOptions {
  directives: CacheDirectives;
  idempotencyKey: string | undefined;
}

/** How long an object keeps what it made: KV's edges may deny for a minute what was just written. */
const KEEP_SECONDS = 10 * 60;

/** Who asks, as long as nobody has a name. */
const PRINCIPAL = "public";

/** A caller is answered at least this often, and asks again. */
const WAIT_MS = 30_000;

/**
 * Finds what a request asks for: in KV where it was made before and the client will have that, else
 * in the object that makes it, which is told to unless it is at it already.
 *
 * @throws {GatewayError} `not_cached` where the client forbids to make it; `moderation_blocked`
 *   where the upstream has refused it lately; `idempotency_key_reused`
 */
export async function generate(
  request: ImageRequest,
  options: GenerateOptions,
  context: GenerateContext,
): Promise<Found> {
  const { config, event } = context;
  const { directives, idempotencyKey } = options;
  const key = await requestKey(request, config.upstream.baseUrl);
  const idempotency =
    idempotencyKey === undefined
      ? undefined
      : await claimIdempotencyKey(config, PRINCIPAL, idempotencyKey, key);
  const bound = await findBound(idempotency, request, context);
  if (bound !== undefined) return bound;

  const wantsKept = !directives.noStore && !directives.noCache;
  const kept = wantsKept
    ? await event.time("cache", () => findKept(key, request, context))
    : undefined;
  const maxAgeSeconds = Math.min(
    directives.maxAgeSeconds ?? Number.MAX_SAFE_INTEGER,
    config.cacheTtlSeconds - 1,
  );
  const found =
    kept !== undefined && isHit(kept.outcome, maxAgeSeconds)
      ? kept
      : await findOrStart(key, request, maxAgeSeconds, {
          directives,
          idempotency,
          context,
          kind: wantsKept && kept === undefined ? "miss" : "request",
        });
  await idempotency?.bind(found.kind === "made" ? found.record.id : found.handle.id);
  return found;
}

/**
 * The generation of an id, wherever it is; `undefined` where it is not, or no longer.
 *
 * @param responseFormat how it is to be delivered; the model's own way where absent
 */
export async function findById(
  id: string,
  responseFormat: "b64_json" | "url" | undefined,
  context: GenerateContext,
): Promise<Found | undefined> {
  const { cache, config, event } = context;
  const kept = await event.time("cache", () =>
    readingCache(context, async () => {
      const record = (await cache.recordById(id))?.record;
      if (record === undefined) return undefined;
      const format = responseFormat ?? defaultResponseFormat(record.model);
      return madeFromCache(record, format, context);
    }),
  );
  if (kept !== undefined) return kept;
  const handle = handleOf(config, id);
  const progress = await handle?.progress(0, 0);
  if (handle === undefined || progress === undefined) return undefined;
  return foundInObject(progress, handle, context, "miss");
}

/**
 * Waits for the end of a generation.
 *
 * @param waitMs gives up after so long; for ever, within the generation's own time, where absent
 * @throws {GatewayError} what the generation failed with; `generation_not_found` when it is gone
 */
export async function result(
  { handle, outcome }: PendingGeneration,
  waitMs = Number.POSITIVE_INFINITY,
): Promise<MadeGeneration | undefined> {
  const untilMs = Date.now() + waitMs;
  for (;;) {
    const remainingMs = Math.max(0, untilMs - Date.now());
    const progress = await handle.progress(Number.MAX_SAFE_INTEGER, Math.min(remainingMs, WAIT_MS));
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
  handle: GenerationHandle,
  outcome: CacheOutcome,
): MadeGeneration | undefined {
  if (progress === undefined) throw new GatewayError({ code: "generation_not_found" });
  if (progress.failure !== undefined) throw new GatewayError(progress.failure);
  const { record } = progress;
  if (record === undefined) return undefined;
  const images = record.images.map((image, index) => async () => {
    const found = await handle.image(index);
    if (found === undefined) throw new GatewayError({ code: "generation_not_found" });
    return readAll(found.body, image.bytes);
  });
  return { kind: "made", record, images, outcome };
}

/**
 * The generation that an Idempotency-Key stands for. One that failed is asked for again only where
 * that cannot pay twice.
 */
async function findBound(
  idempotency: Idempotency | undefined,
  request: ImageRequest,
  context: GenerateContext,
): Promise<Found | undefined> {
  if (idempotency?.generationId === undefined) return undefined;
  try {
    return await findById(idempotency.generationId, request.response_format, context);
  } catch (error) {
    if (error instanceof GatewayError && !mayHaveCharged(error.failure)) return undefined;
    throw error;
  }
}

interface StartOptions {
  directives: CacheDirectives;
  idempotency: Idempotency | undefined;
  context: GenerateContext;
  kind: "miss" | "request";
}

async function findOrStart(
  key: string,
  request: ImageRequest,
  maxAgeSeconds: number,
  { directives, idempotency, context, kind }: StartOptions,
): Promise<Found> {
  const { config } = context;
  const isShared = !directives.noStore && !directives.noCache;
  if (directives.onlyIfCached) {
    const made = isShared ? await findMade(config, key, maxAgeSeconds) : undefined;
    if (made === undefined) throw new GatewayError({ code: "not_cached" });
    return foundInObject(made.started, made.handle, context, kind);
  }
  const { started, handle } = await startGeneration(
    config,
    objectName(isShared, key, idempotency),
    {
      key,
      request,
      store: !directives.noStore,
      keepSeconds: idempotency === undefined ? KEEP_SECONDS : IDEMPOTENCY_SECONDS,
      maxAgeSeconds: isShared ? maxAgeSeconds : IDEMPOTENCY_SECONDS,
    },
  );
  if (started.joined) return foundInObject(started, handle, context, kind);
  const outcome = { kind, collapsed: false, stored: !directives.noStore };
  return { kind: "pending", isRunning: false, created: started.created, handle, outcome };
}

function objectName(
  isShared: boolean,
  key: string,
  idempotency: Idempotency | undefined,
): ObjectName {
  if (isShared) return { shared: key };
  return idempotency === undefined ? "fresh" : { shared: idempotency.name };
}

/** What an object has for somebody who did not begin it. */
function foundInObject(
  progress: Progress,
  handle: GenerationHandle,
  { config }: GenerateContext,
  kind: "miss" | "request",
): Found {
  const { record, created, state } = progress;
  const pending = { kind, collapsed: true, stored: false };
  const outcome = record === undefined ? pending : hitOutcome(record, config);
  const made = madeFrom(progress, handle, outcome);
  return made ?? { kind: "pending", isRunning: state === "in_progress", created, handle, outcome };
}

/** What KV has for a request. A store that fails has nothing. */
async function findKept(
  key: string,
  request: ImageRequest,
  context: GenerateContext,
): Promise<MadeGeneration | undefined> {
  const { cache } = context;
  const kept = await readingCache(context, async () => {
    const [record, refusal] = await Promise.all([cache.recordByKey(key), cache.refusal(key)]);
    if (record === undefined) return { refusal };
    return { made: await madeFromCache(record, request.response_format, context) };
  });
  if (kept?.refusal !== undefined) throw new GatewayError(kept.refusal);
  return kept?.made;
}

/**
 * A kept record with its images. They are opened before the first byte of an answer is sent, so that
 * a record whose images are gone is a miss and not a broken answer; each is read when its turn comes.
 */
async function madeFromCache(
  record: GenerationRecord,
  responseFormat: "b64_json" | "url",
  { cache, config }: GenerateContext,
): Promise<MadeGeneration | undefined> {
  const outcome = hitOutcome(record, config);
  if (responseFormat === "url") return { kind: "made", record, images: [], outcome };
  const opened = await Promise.all(record.images.map((_, index) => cache.image(record.id, index)));
  const images = opened.filter((image) => image !== undefined);
  if (images.length < opened.length) {
    await Promise.all(images.map((image) => image.body.cancel()));
    return undefined;
  }
  return {
    kind: "made",
    record,
    images: images.map((image) => () => readAll(image.body, image.sizeBytes)),
    outcome,
  };
}

/** Reads from the store; a failure is logged, and is as good as nothing found. */
export async function readingCache<Kept>(
  { event }: Pick<GenerateContext, "event">,
  read: () => Promise<Kept>,
): Promise<Kept | undefined> {
  try {
    return await read();
  } catch (error) {
    log("error", "cache_read_failed", { request_id: event.requestId, ...errorFields(error) });
    return undefined;
  }
}

function hitOutcome(record: GenerationRecord, { cacheTtlSeconds }: Config): CacheOutcome {
  const ageSeconds = Math.max(0, Math.floor(Date.now() / 1000) - record.created);
  return { kind: "hit", ageSeconds, ttlSeconds: cacheTtlSeconds - ageSeconds };
}

function isHit(outcome: CacheOutcome, maxAgeSeconds: number): boolean {
  return outcome.kind === "hit" && outcome.ageSeconds <= maxAgeSeconds;
}
