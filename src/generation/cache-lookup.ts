import type { Cache } from "../cache/cache.ts";
import type { Config } from "../config/environment.ts";
import { defaultResponseFormat, type ResponseFormat } from "../contract/models.ts";
import type { GenerationRecord } from "../contract/record.ts";
import { GatewayError } from "../errors/failure.ts";
import type { RequestEvent } from "../telemetry/event.ts";
import { errorFields, log } from "../telemetry/log.ts";
import { hitOutcome, type CompletedGeneration } from "./result.ts";
import type { RequestKeys } from "./key.ts";

export interface GenerationContext {
  config: Config;
  cache: Cache;
  event: RequestEvent;
}

/** What KV has for a request key. */
export type Kept =
  | { kind: "fresh"; made: CompletedGeneration }
  /** Older than it may be. */
  | { kind: "stale" }
  | { kind: "none" };

/**
 * What KV has for a request. A store that fails has nothing, and so has a record whose images are
 * gone. Both keys of a request whose model is retired are read at the same time; the first one wins.
 *
 * @throws {GatewayError} `moderation_blocked` where the upstream has refused the request lately
 */
export async function lookupByKey(
  { key, retiredKey }: RequestKeys,
  responseFormat: ResponseFormat,
  maxAgeSeconds: number,
  context: GenerationContext,
): Promise<Kept> {
  const { cache, config } = context;
  const keys = retiredKey === undefined ? [key] : [key, retiredKey];
  const read = await Promise.all(
    keys.map((each) => readingCache(context, () => cache.recordByKey(each))),
  );
  const records = read.filter((record) => record !== undefined);
  if (records.length === 0) {
    const refusal = await readingCache(context, () => cache.moderationBlock(key));
    if (refusal !== undefined) throw new GatewayError(refusal);
    return { kind: "none" };
  }
  const fresh = records.filter((record) => hitOutcome(record, config).ageSeconds <= maxAgeSeconds);
  if (fresh.length === 0) return { kind: "stale" };
  for (const record of fresh) {
    const made = await readingCache(context, () => withImages(record, responseFormat, context));
    if (made !== undefined) return { kind: "fresh", made };
  }
  return { kind: "none" };
}

/** The generation of an id, if KV has it. */
export async function lookupCachedById(
  id: string,
  responseFormat: ResponseFormat | undefined,
  context: GenerationContext,
): Promise<CompletedGeneration | undefined> {
  return readingCache(context, async () => {
    const record = (await context.cache.recordById(id))?.record;
    if (record === undefined) return undefined;
    return withImages(record, responseFormat ?? defaultResponseFormat(record.model), context);
  });
}

/**
 * A kept record with its images. They are opened before the first byte of an answer is sent, so that
 * a record whose images are gone is a miss and not a broken answer; each is read when its turn comes.
 */
async function withImages(
  record: GenerationRecord,
  responseFormat: ResponseFormat,
  { cache, config }: GenerationContext,
): Promise<CompletedGeneration | undefined> {
  const outcome = hitOutcome(record, config);
  if (responseFormat === "url") return { kind: "made", record, images: [], outcome };
  const opened = await Promise.all(
    record.images.map((_, index) => cache.image(record.id, index, outcome.ageSeconds)),
  );
  const images = opened.filter((image) => image !== undefined);
  if (images.length < opened.length) {
    await Promise.all(images.map((image) => image.body.cancel()));
    return undefined;
  }
  return {
    kind: "made",
    record,
    images: images.map((image) => () => Promise.resolve(image.body)),
    outcome,
  };
}

/** Reads from the store; a failure is logged, and is as good as nothing found. */
export async function readingCache<Kept>(
  { event }: Pick<GenerationContext, "event">,
  read: () => Promise<Kept>,
): Promise<Kept | undefined> {
  try {
    return await read();
  } catch (error) {
    log("error", "cache_read_failed", { request_id: event.requestId, ...errorFields(error) });
    return undefined;
  }
}
