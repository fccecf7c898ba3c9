import type { ChargedAccounts } from "../access/budget.ts";
import { limitRate } from "../access/rate-limit.ts";
import type { ResponseFormat } from "../contract/models.ts";
import type { ImageRequest } from "../contract/request.ts";
import { msSinceShutdown, retirementOf } from "../contract/retirement.ts";
import { GatewayError, mayHaveCharged } from "../errors/failure.ts";
import type { CacheDirectives } from "../lib/cache-control.ts";
import { generationIdOf, hitOutcome, madeFrom, type GenerationResult } from "./result.ts";
import {
  lookupInObject,
  clientOf,
  startGeneration,
  type GenerationClient,
  type ObjectName,
} from "./client.ts";
import { claimIdempotencyKey, IDEMPOTENCY_SECONDS, type Idempotency } from "./idempotency.ts";
import { NOW, type Progress } from "./protocol.ts";
import { lookupByKey, lookupCachedById, type GenerationContext } from "./cache-lookup.ts";
import { requestIdentity, requestKeys, type RequestKeys } from "./key.ts";

/** For whom a request is answered. */
export interface Requester {
  /** Whose idempotency keys. */
  principal: string;
  /** What the rate limits count by. */
  rateKey: string;
  payer: ChargedAccounts;
}

export interface GenerateOptions {
  requester: Requester;
  directives: CacheDirectives;
  idempotencyKey: string | undefined;
  /** The time at which the request's model was resolved, milliseconds since the epoch. */
  nowMs: number;
  /** Whether it waits while its requester has too many going on, rather than being refused. */
  waitsForTurn?: boolean;
}

/** Pictures of a page that are asked for at once wait for each other so long. */
const TURN_TRIES = 60;
const TURN_PAUSE_MS = 1000;

/** How long an object keeps what it made: KV's edges may deny for a minute what was just written. */
const KEEP_SECONDS = 10 * 60;

/**
 * Finds what a request asks for: in KV where it was made before and the client will have that, else
 * in the object that makes it, which is told to unless it is at it already.
 *
 * @throws {GatewayError} `not_cached` where the client forbids to make it; `moderation_blocked`
 *   where the upstream has refused it lately; `idempotency_key_reused`; `rate_limit_exceeded` and
 *   `budget_exceeded` where the requester may have no more made
 */
export async function generate(
  request: ImageRequest,
  options: GenerateOptions,
  context: GenerationContext,
): Promise<GenerationResult> {
  const { config, event } = context;
  const { directives, idempotencyKey, requester } = options;
  const keys = await requestKeys(request, config.upstream.baseUrl);
  const idempotency =
    idempotencyKey === undefined
      ? undefined
      : await claimIdempotencyKey(
          config,
          requester.principal,
          idempotencyKey,
          await requestIdentity(request, keys),
        );
  const bound = await findBound(idempotency, request, context);
  if (bound !== undefined) return bound;

  const isShared = !directives.noStore && !directives.noCache;
  const maxAgeSeconds = Math.min(
    directives.maxAgeSeconds ?? Number.MAX_SAFE_INTEGER,
    config.cacheTtlSeconds - 1,
  );
  const kept = isShared
    ? await event.time("cache", () =>
        lookupByKey(keys, request.response_format, maxAgeSeconds, context),
      )
    : undefined;
  const found =
    kept?.kind === "fresh"
      ? kept.made
      : await findOrStart(keys, request, maxAgeSeconds, {
          ...options,
          isShared,
          idempotency,
          context,
          kind: kept?.kind === "none" ? "miss" : "request",
        });
  await idempotency?.bind(generationIdOf(found));
  return found;
}

/**
 * The generation of an id, wherever it is; `undefined` where it is not, or no longer.
 *
 * @param responseFormat how it is to be delivered; the model's own way where absent
 */
export async function lookupById(
  id: string,
  responseFormat: ResponseFormat | undefined,
  context: GenerationContext,
): Promise<GenerationResult | undefined> {
  const { config, event } = context;
  const kept = await event.time("cache", () => lookupCachedById(id, responseFormat, context));
  if (kept !== undefined) return kept;
  const handle = clientOf(config, id);
  const progress = await handle?.progress(NOW);
  if (handle === undefined || progress === undefined) return undefined;
  return foundInObject(progress, handle, context, "miss");
}

/**
 * The generation that an Idempotency-Key stands for. One that failed is asked for again only where
 * that cannot pay twice.
 */
async function findBound(
  idempotency: Idempotency | undefined,
  request: ImageRequest,
  context: GenerationContext,
): Promise<GenerationResult | undefined> {
  if (idempotency?.generationId === undefined) return undefined;
  try {
    return await lookupById(idempotency.generationId, request.response_format, context);
  } catch (error) {
    if (error instanceof GatewayError && !mayHaveCharged(error.failure)) return undefined;
    throw error;
  }
}

interface StartOptions extends GenerateOptions {
  /** Whether what everybody shares will do, or it is to be made for this client alone. */
  isShared: boolean;
  idempotency: Idempotency | undefined;
  context: GenerationContext;
  kind: "miss" | "request";
}

async function findOrStart(
  keys: RequestKeys,
  request: ImageRequest,
  maxAgeSeconds: number,
  options: StartOptions,
): Promise<GenerationResult> {
  const { directives, isShared, idempotency, requester, waitsForTurn, context, kind } = options;
  const { config } = context;
  const { key } = keys;
  const found = isShared ? await findInObjects(keys, request, maxAgeSeconds, options) : undefined;
  if (found !== undefined) return found;
  if (directives.onlyIfCached) throw new GatewayError({ code: "not_cached" });
  await limitRate(config, "generations", requester.rateKey);
  const job = {
    key,
    request,
    payer: requester.payer,
    store: !directives.noStore,
    keepSeconds: idempotency === undefined ? KEEP_SECONDS : IDEMPOTENCY_SECONDS,
    maxAgeSeconds: isShared ? maxAgeSeconds : IDEMPOTENCY_SECONDS,
  };
  const name = objectName(isShared, key, idempotency);
  const { started, handle } = await inTurn(waitsForTurn === true ? TURN_TRIES : 1, () =>
    startGeneration(config, name, job),
  );
  if (started.failure !== undefined) throw new GatewayError(started.failure);
  if (started.joined) return foundInObject(started, handle, context, kind);
  const outcome = { kind, collapsed: false, stored: !directives.noStore };
  return { kind: "pending", isRunning: false, created: started.created, handle, outcome };
}

/**
 * Returns a generation that an object has, without starting one. With `only-if-cached` it must be completed,
 * under either key. Otherwise the retired key's object is asked for an hour after the shutdown.
 */
async function findInObjects(
  { key, retiredKey }: RequestKeys,
  request: ImageRequest,
  maxAgeSeconds: number,
  { directives, nowMs, context, kind }: StartOptions,
): Promise<GenerationResult | undefined> {
  const { onlyIfCached } = directives;
  const retired = onlyIfCached || isJustRetired(request, nowMs) ? retiredKey : undefined;
  for (const name of onlyIfCached ? [key, retired] : [retired]) {
    if (name === undefined) continue;
    const found = await lookupInObject(context.config, name, maxAgeSeconds, !onlyIfCached);
    if (found !== undefined) return foundInObject(found.started, found.handle, context, kind);
  }
  return undefined;
}

/**
 * A generation that was started just before its model was retired may still be in progress, or completed
 * and not yet in KV. Its object has it: for at most ten minutes until the end, and ten minutes after it,
 * or as long as the copy to KV is retried.
 */
const HANDOVER_MS = 60 * 60 * 1000;

function isJustRetired({ retiredModel }: ImageRequest, nowMs: number): boolean {
  const retirement = retiredModel === undefined ? undefined : retirementOf(retiredModel);
  return retirement !== undefined && msSinceShutdown(retirement, nowMs) < HANDOVER_MS;
}

/** Begins, again and again while it is refused only because others of its requester go on. */
async function inTurn(
  tries: number,
  start: () => ReturnType<typeof startGeneration>,
): ReturnType<typeof startGeneration> {
  for (let attempt = 1; ; attempt += 1) {
    const begun = await start();
    if (begun.started.failure?.code !== "rate_limit_exceeded" || attempt >= tries) return begun;
    await scheduler.wait(TURN_PAUSE_MS);
  }
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
  handle: GenerationClient,
  { config }: GenerationContext,
  kind: "miss" | "request",
): GenerationResult {
  const { record, created, state } = progress;
  const pending = { kind, collapsed: true, stored: false };
  const outcome = record === undefined ? pending : hitOutcome(record, config);
  const made = madeFrom(progress, handle, outcome);
  return made ?? { kind: "pending", isRunning: state === "in_progress", created, handle, outcome };
}
