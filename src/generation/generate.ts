import type { Caller } from "../access/caller.ts";
import type { ImageSpec } from "../contract/image-spec.ts";
import { imageFormat, type ImageRequest } from "../contract/request.ts";
import { msSinceShutdown, retirementOf } from "../contract/retirement.ts";
import { toStoredRequest } from "../contract/stored-request.ts";
import { GatewayError } from "../errors/failure.ts";
import type { CacheDirectives } from "../lib/cache-control.ts";
import { lookupByKey, type CacheLookup } from "./cache-lookup.ts";
import { lookupInObject, startGeneration, type GenerationClient } from "./client.ts";
import type { GenerationContext } from "./context.ts";
import { claimOf, FREE, IDEMPOTENCY_SECONDS, type KeyClaim } from "./idempotency.ts";
import {
  identityOf,
  isAnotherSender,
  belongsToAnotherSender,
  sentIdentity,
  type SentIdentity,
} from "./identity.ts";
import { requestIdentity, requestKeys, type RequestKeys } from "./key.ts";
import { keyStateOf, lookupBound, resultOfProgress } from "./lookup.ts";
import { WITHOUT_WAITING, type ProgressQuery, type StartResponse } from "./protocol.ts";
import { closeFirstImage, type GenerationResult, type Joiner } from "./result.ts";

/** The options of a request that its spec does not have. */
export interface GenerateOptions {
  caller: Caller;
  directives: CacheDirectives;
  idempotencyKey: string | undefined;
  /** The time at which the request's model was resolved, milliseconds since the epoch. */
  nowMs: number;
  /** True if the request waits while its caller has too many generations in progress. */
  waitsForTurn?: boolean;
  /** How a start or a join waits for news. It saves a call if the generation ends meanwhile. */
  query?: ProgressQuery;
}

/** How long an object retains a generation: KV's locations may report a new entry as missing for a minute. */
const RETENTION_SECONDS = 10 * 60;

/**
 * Returns the generation for a request: from KV if a cached copy is acceptable, otherwise from the key's
 * Durable Object, which starts it unless it is already running.
 *
 * A request that starts nothing claims no Idempotency-Key, and counts against no limit.
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
  const [identity, claim] = await Promise.all([
    identityOf(request.upstream, keys.key),
    claimOfRequest(request.spec, keys, options),
  ]);
  const isShared = !directives.noStore && !directives.noCache;
  const maxAgeSeconds = Math.min(
    directives.maxAgeSeconds ?? Number.MAX_SAFE_INTEGER,
    config.cacheTtlSeconds - 1,
  );
  const lookup = isShared
    ? event.time("cache", () => lookupByKey(keys, identity, format, maxAgeSeconds, context))
    : Promise.resolve(BYPASS);
  const key =
    claim === undefined ? FREE : await orClose(lookup, keyStateOf(claim, account, context));
  const bound = await orClose(lookup, lookupBound(key, format, context));
  const cached = await lookup;
  if (bound !== undefined) {
    await close(cached);
    return bound;
  }
  if (cached.kind === "hit") return cached.generation;
  if (cached.kind === "blocked") throw new GatewayError(cached.failure);
  return joinOrStart(request, {
    ...options,
    keys,
    sent: await sentIdentity(request, { identity, account, key: keys.key }, config),
    claim: claim && { ...claim, replaces: key.kind === "held" ? key.generationId : undefined },
    isShared,
    maxAgeSeconds,
    context,
    // "bypass": the request does not read the cache, or does not accept the cached record.
    kind: cached.kind === "miss" ? "miss" : "bypass",
  });
}

const BYPASS: CacheLookup = { kind: "stale" };

/** Waits for work beside a lookup in KV. If the work fails, closes what the lookup has opened. */
async function orClose<Result>(
  lookup: Promise<CacheLookup>,
  work: Promise<Result>,
): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    await close(await lookup);
    throw error;
  }
}

async function close(cached: CacheLookup): Promise<void> {
  if (cached.kind === "hit") await closeFirstImage(cached.generation);
}

async function claimOfRequest(
  spec: ImageSpec,
  keys: RequestKeys,
  { caller, idempotencyKey }: GenerateOptions,
): Promise<KeyClaim | undefined> {
  if (idempotencyKey === undefined) return undefined;
  return claimOf(caller, idempotencyKey, await requestIdentity(spec, keys));
}

interface StartOptions extends GenerateOptions {
  keys: RequestKeys;
  /** The identity that the upstream is sent if this request starts a generation. */
  sent: SentIdentity;
  /** How often the request has started again, after the failure of another sender: twice at most. */
  restarts?: number;
  claim: KeyClaim | undefined;
  /** True if a generation of another request is acceptable. */
  isShared: boolean;
  maxAgeSeconds: number;
  context: GenerationContext;
  kind: "miss" | "bypass";
}

/**
 * How often a request starts while another one with its Idempotency-Key starts too, and is then refused or
 * fails.
 */
const MAX_CLAIMS = 5;

/** Joins a generation in a Durable Object, or starts one there. */
async function joinOrStart(
  request: ImageRequest,
  options: StartOptions,
): Promise<GenerationResult> {
  const { keys, sent, claim, directives, isShared, maxAgeSeconds, caller, context } = options;
  const { config, event } = context;
  const { waitsForTurn = false, query = WITHOUT_WAITING } = options;
  const joined = isShared ? await lookupInObjects(request, options) : undefined;
  if (joined !== undefined) return joined;
  if (directives.onlyIfCached) throw new GatewayError({ code: "not_cached" });
  const start = {
    key: keys.key,
    request: toStoredRequest(request),
    ...sent,
    payer: caller.payer,
    store: !directives.noStore,
    keepSeconds: claim === undefined ? RETENTION_SECONDS : IDEMPOTENCY_SECONDS,
    maxAgeSeconds,
    isOwn: !isShared,
  };
  const name = isShared ? objectName(options) : undefined;
  let replaces = claim?.replaces;
  for (let attempt = 1; attempt <= MAX_CLAIMS; attempt += 1) {
    const wanted = { ...start, claim: claim && { ...claim, replaces } };
    const { started, client } = await event.time("upstream", () =>
      startGeneration(config, name, wanted, { waitsForTurn, query }),
    );
    if (started.heldBy === undefined) {
      event.add({ generation: started.id });
      if (started.joined) return joinedResult(started, client, request, options);
      if (started.failure !== undefined) throw new GatewayError(started.failure);
      const outcome = { kind: options.kind, collapsed: false, stored: !directives.noStore };
      const { created } = started;
      return { kind: "pending", isRunning: false, created, client, outcome, n: request.spec.n };
    }
    // Another request with the same Idempotency-Key was first.
    replaces = started.heldBy;
    const held = { kind: "held", generationId: replaces } as const;
    const bound = await lookupBound(held, imageFormat(request.delivery), context);
    if (bound !== undefined) return bound;
  }
  throw new GatewayError({ code: "idempotency_key_busy" });
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

/**
 * Returns the name of the object that a request shares with others. After the failure of another sender these
 * are only requests with the same identifiers of the client. After a second one, which can only be because of
 * an identifier that the gateway has added, they are those of the same account. So no request fails because of
 * another sender.
 */
function objectName({ keys, sent, restarts = 0 }: StartOptions): string {
  if (restarts === 0) return keys.key;
  const isOfClient = restarts > 1 || sent.isAutomatic !== true;
  return `${keys.key}/sender/${(isOfClient ? sent.identity : undefined) ?? "none"}`;
}

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
  const { context, kind, isShared, restarts = 0 } = options;
  const { identity } = options.sent;
  const result = resultOfProgress(joined, client, context, kind);
  // A generation that is not shared is joined by a repeated call of its own request only.
  const isOther = isShared && isAnotherSender(joined.identity, identity);
  if (result.kind === "completed" || !isOther) return result;
  const joiner: Joiner = {
    async onFailure(failure) {
      if (!belongsToAnotherSender(failure, identity)) return undefined;
      return joinOrStart(request, { ...options, restarts: restarts + 1 });
    },
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
