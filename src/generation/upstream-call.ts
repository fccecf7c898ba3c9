import { withSafetyIdentifier } from "../access/safety-identifier.ts";
import { kvCache } from "../cache/cache.ts";
import { configOf, type Config } from "../config/environment.ts";
import { costOfRecord, MICRO_PER_DOLLAR } from "../contract/pricing.ts";
import { withSuccessor, type ImageRequest } from "../contract/request.ts";
import { fromStoredRequest, toStoredRequest } from "../contract/stored-request.ts";
import { failureOf, type Failure } from "../errors/failure.ts";
import { nowSeconds } from "../lib/clock.ts";
import { errorFields, log } from "../telemetry/log.ts";
import { dispatch } from "../upstream/client.ts";
import { failureOfSender } from "./identity.ts";
import { storeModerationBlock } from "./moderation-block.ts";
import { completed } from "./settlement.ts";
import type { GenerationStorage, StoredGeneration } from "./storage.ts";
import type { Waiters } from "./waiters.ts";

/** What the end of an upstream call changes in its object. */
export interface CallParts {
  storage: GenerationStorage;
  waiters: Waiters;
  env: object;
}

/**
 * Calls the upstream for a queued generation. Stores its images and its record, or its failure, before it
 * wakes a client.
 */
export async function callUpstream(generation: StoredGeneration, parts: CallParts): Promise<void> {
  const { id, job } = generation;
  const { storage, waiters, env } = parts;
  const startedMs = Date.now();
  let request = fromStoredRequest(job.request);
  let failure: Failure | undefined;
  try {
    const config = configOf(env);
    // The model may have been retired since the generation was queued.
    request = { ...request, spec: withSuccessor(request.spec, config, startedMs) };
    const sent = { ...job, request: toStoredRequest(request) };
    storage.save({ ...generation, job: sent, state: "dispatched" });
    await generateImages(generation, request, parts, config);
  } catch (error) {
    failure = failureOfSender(failureOf(error), job);
    if (failure.code === "internal_error") {
      log("error", "generation_broke", { id, ...errorFields(error) });
      // The request may have been sent, so a fault of our own may have been charged.
      failure = { code: "upstream_outcome_unknown" };
    }
    storage.fail(id, failure);
  }
  const record = storage.byId(id)?.record;
  log("info", "generation", {
    id,
    model: request.spec.upstreamModel,
    n: request.spec.n,
    upstream_ms: Date.now() - startedMs,
    cost_usd: record && costOfRecord(record, configOf(env)) / MICRO_PER_DOLLAR,
    error: failure?.code,
  });
  waiters.wake();
  if (failure?.code === "moderation_blocked" && job.store) {
    const config = configOf(env);
    await storeModerationBlock(job, failure, kvCache(config), config);
  }
}

/** Calls the upstream, and stores the images and the record. */
async function generateImages(
  { id, job }: StoredGeneration,
  request: ImageRequest,
  { storage, waiters }: CallParts,
  config: Config,
): Promise<void> {
  const identified = await withSafetyIdentifier(request, job.payer.account, config);
  const generated = await dispatch(identified, {
    config: config.upstream,
    localDevelopment: config.localDevelopment,
    sink: storage.sink(id),
    onPartialImage: ({ index, image, resolved }) => {
      storage.addPartial(id, { index, ...image, resolved, created: nowSeconds() });
      waiters.wake();
    },
  });
  storage.complete(id, {
    ...completed(id, identified, generated, config),
    slots: generated.images.map((image) => image.slot),
  });
}
