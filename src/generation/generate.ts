import type { Caller } from "../access/caller.ts";
import { limitRate } from "../access/rate-limit.ts";
import type { ResponseFormat } from "../contract/models.ts";
import type { ImageSpec } from "../contract/image-spec.ts";
import { imageFormat, type ImageRequest } from "../contract/request.ts";
import { msSinceShutdown, retirementOf } from "../contract/retirement.ts";
import { toStoredRequest } from "../contract/stored-request.ts";
import { GatewayError, mayHaveCharged } from "../errors/failure.ts";
import type { CacheDirectives } from "../lib/cache-control.ts";
import { lookupByKey, lookupCachedById } from "./cache-lookup.ts";
import { clientOf, lookupInObject, startGeneration, type GenerationClient } from "./client.ts";
import type { GenerationContext } from "./context.ts";
import { claimIdempotencyKey, IDEMPOTENCY_SECONDS, type IdempotencyClaim } from "./idempotency.ts";
import {
  identityOf,
  isAnotherSender,
  belongsToAnotherSender,
  sentIdentity,
  type SentIdentity,
} from "./identity.ts";
import { requestIdentity, requestKeys, type RequestKeys } from "./key.ts";
import { WITHOUT_WAITING, type Progress, type StartResponse } from "./protocol.ts";
import {
  completedGeneration,
  generationIdOf,
  hitOutcome,
  type GenerationResult,
  type Joiner,
} from "./result.ts";

/** The options of a request that its spec does not have. */
export interface GenerateOptions {
  caller: Caller;
  directives: CacheDirectives;
  idempotencyKey: string | undefined;
  /** The time at which the request's model was resolved, milliseconds since the epoch. */
  nowMs: number;
  /** True if the request waits while its caller has too many generations in progress. */
  waitsForTurn?: boolean;
}

/** How long an object retains a generation: KV's locations may report a new entry as missing for a minute. */
const RETENTION_SECONDS = 10 * 60;

/**
 * Returns the generation for a request: from KV if a cached copy is acceptable, otherwise from the key's
 * Durable Object, which starts it unless it is already running.
 *
 * @throws {GatewayError} `not_cached` if the client forbids to generate; `moderation_blocked` if the
 *   upstream has recently blocked the request; `idempotency_key_reused`; `rate_limit_exceeded` and
 *   `budget_exceeded` if the caller has reached a limit; the failure of the generation that it joins or that
 *   its Idempotency-Key is bound to
 */
export async function generate(
  request: ImageRequest,
  options: GenerateOptions,
  context: GenerationContext,
): Promise<GenerationResult> {
  const { config, event } = context;
  const { directives } = options;
  const { account } = options.caller.payer;
  const format = imageFormat(request.delivery);
  const keys = await requestKeys(request.spec, config.upstream.baseUrl);
  const identity = await identityOf(request.upstream, keys.key);
  const claim = await claimKey(request.spec, keys, options, context);
  const bound = await lookupBoundGeneration(claim, format, context);
  if (bound !== undefined) return bound;

  const isShared = !directives.noStore && !directives.noCache;
  const maxAgeSeconds = Math.min(
    directives.maxAgeSeconds ?? Number.MAX_SAFE_INTEGER,
    config.cacheTtlSeconds - 1,
  );
  const cached = isShared
    ? await event.time("cache", () => lookupByKey(keys, identity, format, maxAgeSeconds, context))
    : undefined;
  const result =
    cached?.kind === "hit"
      ? cached.generation
      : await joinOrStart(request, {
          ...options,
          keys,
          sent: await sentIdentity(request, { identity, account, key: keys.key }, config),
          claim,
          isShared,
          maxAgeSeconds,
          context,
          // "bypass": the request does not read the cache, or does not accept the cached record.
          kind: cached?.kind === "miss" ? "miss" : "bypass",
        });
  await bindUnlessJoiner(claim, result);
  return result;
}

/** Binds an Idempotency-Key, except to a generation that may still fail because of another sender. */
async function bindUnlessJoiner(
  claim: IdempotencyClaim | undefined,
  result: GenerationResult,
): Promise<void> {
  if (result.kind === "pending" && result.joiner !== undefined) return;
  await claim?.bind(generationIdOf(result));
}

/**
 * Returns the generation of an id, from KV or from its Durable Object; `undefined` if neither has it.
 *
 * @param format how its images are delivered; the model's default if absent
 * @throws {GatewayError} the failure of the generation
 */
export async function lookupById(
  id: string,
  format: ResponseFormat | undefined,
  context: GenerationContext,
): Promise<GenerationResult | undefined> {
  const { config, event } = context;
  const cached = await event.time("cache", () => lookupCachedById(id, format, context));
  if (cached !== undefined) return cached;
  const client = clientOf(config, id);
  const progress = await client?.progress(WITHOUT_WAITING);
  if (client === undefined || progress === undefined) return undefined;
  return resultOfProgress(progress, client, context, "miss");
}

async function claimKey(
  spec: ImageSpec,
  keys: RequestKeys,
  { caller, idempotencyKey }: GenerateOptions,
  { config }: GenerationContext,
): Promise<IdempotencyClaim | undefined> {
  if (idempotencyKey === undefined) return undefined;
  const identity = await requestIdentity(spec, keys);
  return claimIdempotencyKey(config, caller.principal, idempotencyKey, identity);
}

/**
 * Returns the generation that the Idempotency-Key is bound to. If that generation failed, the request
 * may start another one only if that cannot pay twice.
 */
async function lookupBoundGeneration(
  claim: IdempotencyClaim | undefined,
  format: ResponseFormat,
  context: GenerationContext,
): Promise<GenerationResult | undefined> {
  if (claim?.generationId === undefined) return undefined;
  try {
    return await lookupById(claim.generationId, format, context);
  } catch (error) {
    if (error instanceof GatewayError && !mayHaveCharged(error.failure)) return undefined;
    throw error;
  }
}

interface StartOptions extends GenerateOptions {
  keys: RequestKeys;
  /** The identity that the upstream is sent if this request starts a generation. */
  sent: SentIdentity;
  /** How often the request has started again, after the failure of another sender. */
  restarts?: number;
  claim: IdempotencyClaim | undefined;
  /** True if a generation of another request is acceptable. */
  isShared: boolean;
  maxAgeSeconds: number;
  context: GenerationContext;
  kind: "miss" | "bypass";
}

/** Joins a generation in a Durable Object, or starts one there. */
async function joinOrStart(
  request: ImageRequest,
  options: StartOptions,
): Promise<GenerationResult> {
  const { keys, sent, claim, directives, isShared, maxAgeSeconds, caller, context } = options;
  const { config } = context;
  const joined = isShared ? await lookupInObjects(request, options) : undefined;
  if (joined !== undefined) return joined;
  if (directives.onlyIfCached) throw new GatewayError({ code: "not_cached" });
  if (options.restarts === undefined) await limitRate(config, "generations", caller.rateKey);
  const start = {
    key: keys.key,
    request: toStoredRequest(request),
    ...sent,
    payer: caller.payer,
    store: !directives.noStore,
    keepSeconds: claim === undefined ? RETENTION_SECONDS : IDEMPOTENCY_SECONDS,
    // A generation that is not shared is joined only by repetitions of its own request.
    maxAgeSeconds: isShared ? maxAgeSeconds : IDEMPOTENCY_SECONDS,
  };
  const name = isShared ? keys.key : claim?.name;
  const { waitsForTurn = false } = options;
  const { started, client } = await startGeneration(config, name, start, { waitsForTurn });
  if (started.failure !== undefined) throw new GatewayError(started.failure);
  if (started.joined) return joinedResult(started, client, request, options);
  const outcome = { kind: options.kind, collapsed: false, stored: !directives.noStore };
  return { kind: "pending", isRunning: false, created: started.created, client, outcome };
}

/**
 * Returns a generation that an object has, without starting one. With `only-if-cached`, looks up both keys
 * and accepts only a completed one. Otherwise looks up the retired key only, within an hour of the shutdown.
 */
async function lookupInObjects(
  request: ImageRequest,
  options: StartOptions,
): Promise<GenerationResult | undefined> {
  const { keys, maxAgeSeconds, directives, nowMs, context } = options;
  const { key, retiredKey } = keys;
  const { onlyIfCached } = directives;
  const retired = onlyIfCached || isJustRetired(request.spec, nowMs) ? retiredKey : undefined;
  for (const name of onlyIfCached ? [key, retired] : [retired]) {
    if (name === undefined) continue;
    const acceptable = { maxAgeSeconds, orInProgress: !onlyIfCached };
    const lookup = await lookupInObject(context.config, name, acceptable);
    if (lookup !== undefined) {
      return joinedResult(lookup.found, lookup.client, request, options);
    }
  }
  return undefined;
}

/** How often a request starts again: it may join the generation of another rejected sender each time. */
const MAX_RESTARTS = 5;

/**
 * Returns the result for a request that joined a generation. If another sender started it and it fails
 * because of that sender, the request joins or starts the next one.
 *
 * @throws {GatewayError} the failure of the generation
 */
function joinedResult(
  joined: StartResponse,
  client: GenerationClient,
  request: ImageRequest,
  options: StartOptions,
): GenerationResult {
  const { context, kind, claim, isShared, restarts = 0 } = options;
  const { identity } = options.sent;
  const result = resultOfProgress(joined, client, context, kind);
  // A generation that is not shared is joined under one Idempotency-Key only, by the same caller.
  const isOther = isShared && isAnotherSender(joined.identity, identity);
  if (result.kind === "completed" || !isOther) return result;
  const joiner: Joiner = {
    async onFailure(failure) {
      if (!belongsToAnotherSender(failure, identity)) return undefined;
      if (restarts === MAX_RESTARTS) throw new GatewayError({ code: "shared_generation_rejected" });
      const next = await joinOrStart(request, { ...options, restarts: restarts + 1 });
      await bindUnlessJoiner(claim, next);
      return next;
    },
    onCompletion: async () => claim?.bind(client.id),
  };
  return { ...result, joiner };
}

/**
 * The time after a shutdown in which the retired key's object is looked up. It may still have a generation
 * that KV lacks: ten minutes to generate, nine minutes of attempts to copy, ten minutes of retention.
 */
const HANDOVER_MS = 60 * 60 * 1000;

function isJustRetired({ retiredModel }: ImageSpec, nowMs: number): boolean {
  const retirement = retiredModel === undefined ? undefined : retirementOf(retiredModel);
  return retirement !== undefined && msSinceShutdown(retirement, nowMs) < HANDOVER_MS;
}

/**
 * Returns the result for a request that did not start the generation.
 *
 * @throws {GatewayError} the failure of the generation
 */
function resultOfProgress(
  progress: Progress,
  client: GenerationClient,
  { config }: GenerationContext,
  kind: "miss" | "bypass",
): GenerationResult {
  const { record, failure, images, created, state } = progress;
  if (failure !== undefined) throw new GatewayError(failure);
  if (record === undefined) {
    const outcome = { kind, collapsed: true, stored: false };
    return { kind: "pending", isRunning: state === "in_progress", created, client, outcome };
  }
  return completedGeneration({ record, images }, client, hitOutcome(record, config));
}
