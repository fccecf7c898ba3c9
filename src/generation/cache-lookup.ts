import { defaultResponseFormat, type ResponseFormat } from "../contract/models.ts";
import type { GenerationRecord } from "../contract/record.ts";
import { GatewayError, type Failure } from "../errors/failure.ts";
import { errorFields, log } from "../telemetry/log.ts";
import type { GenerationContext } from "./context.ts";
import { moderationBlockOf } from "./moderation-block.ts";
import type { RequestKeys } from "./key.ts";
import { hitOutcome, type CompletedGeneration } from "./result.ts";

/** The result of a lookup in KV by key. */
export type CacheLookup =
  | { kind: "hit"; generation: CompletedGeneration }
  /** The record is older than the request accepts. */
  | { kind: "stale" }
  /** The upstream has recently blocked the request. */
  | { kind: "blocked"; failure: Failure }
  | { kind: "miss" };

/**
 * Looks a request up in KV. A failed read is a miss, and so is a record whose images are missing. Both
 * keys of a request whose model is retired are read at the same time, and the first one wins. The moderation
 * blocks are read beside them, so that a miss waits once.
 *
 * @param identity of the sender: only its own moderation blocks count, and those of requests without one
 */
export async function lookupByKey(
  { key, retiredKey }: RequestKeys,
  identity: string | undefined,
  format: ResponseFormat,
  maxAgeSeconds: number,
  context: GenerationContext,
): Promise<CacheLookup> {
  const { cache, config } = context;
  const keys = retiredKey === undefined ? [key] : [key, retiredKey];
  const [block, ...read] = await Promise.all([
    readOrMiss(context, () => moderationBlockOf(key, identity, cache)),
    ...keys.map((each) => readOrMiss(context, () => cache.recordByKey(each))),
  ]);
  const records = read.filter((record) => record !== undefined);
  if (records.length === 0) {
    return block === undefined ? { kind: "miss" } : { kind: "blocked", failure: block };
  }
  const fresh = records.filter((record) => hitOutcome(record, config).ageSeconds <= maxAgeSeconds);
  if (fresh.length === 0) return { kind: "stale" };
  for (const record of fresh) {
    const generation = await readOrMiss(context, () => openImages(record, format, context));
    if (generation !== undefined) return { kind: "hit", generation };
  }
  return { kind: "miss" };
}

/**
 * Looks a generation up in KV by its id.
 *
 * @param format how its images are delivered; the model's default if absent
 */
export async function lookupCachedById(
  id: string,
  format: ResponseFormat | undefined,
  context: GenerationContext,
): Promise<CompletedGeneration | undefined> {
  return readOrMiss(context, async () => {
    const record = (await context.cache.recordById(id))?.record;
    if (record === undefined) return undefined;
    return openImages(record, format ?? defaultResponseFormat(record.model), context);
  });
}

/**
 * Opens the images of a record before the first byte of a response is sent. So a missing image is a miss, not a
 * broken response. Returns `undefined` then.
 *
 * Only the first image stays open. Each other one is opened again when it is sent, because an open stream holds
 * memory while its client does not read.
 */
async function openImages(
  record: GenerationRecord,
  format: ResponseFormat,
  { cache, config }: GenerationContext,
): Promise<CompletedGeneration | undefined> {
  const outcome = hitOutcome(record, config);
  if (format === "url") return { kind: "completed", record, images: [], outcome };
  const open = (index: number) => cache.image(record.id, index, outcome.ageSeconds);
  const [first, ...others] = await Promise.all(record.images.map((_, index) => open(index)));
  await Promise.all(others.map(async (image) => image?.body.cancel()));
  if (first === undefined) return undefined;
  if (others.includes(undefined)) {
    await first.body.cancel();
    return undefined;
  }
  const images = record.images.map((_, index) => async () => {
    const image = index === 0 ? first : await open(index);
    if (image === undefined) throw new GatewayError({ code: "image_not_found" });
    return image.body;
  });
  return { kind: "completed", record, images, outcome };
}

/** Reads from KV. Logs a failure and returns `undefined`, like a miss. */
export async function readOrMiss<Value>(
  { event }: Pick<GenerationContext, "event">,
  read: () => Promise<Value>,
): Promise<Value | undefined> {
  try {
    return await read();
  } catch (error) {
    log("error", "cache_read_failed", { request_id: event.requestId, ...errorFields(error) });
    return undefined;
  }
}
