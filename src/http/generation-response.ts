import type { Context } from "hono";
import type { ChargedAccounts } from "../access/accounts.ts";
import { rateLimitPolicy } from "../access/rate-limit.ts";
import type { JobFields, PendingJobResponse } from "../contract/job.ts";
import { defaultResponseFormat, type ResponseFormat } from "../contract/models.ts";
import { costOfRecord, MICRO_PER_DOLLAR } from "../contract/pricing.ts";
import type { ImageSpec } from "../contract/image-spec.ts";
import { imageFormat, type Delivery } from "../contract/request.ts";
import type { GenerationRecord } from "../contract/record.ts";
import { imageUrl, type PendingResponse } from "../contract/response.ts";
import { GatewayError } from "../errors/failure.ts";
import type { GenerationContext } from "../generation/context.ts";
import { WITHOUT_PARTIALS, type ProgressQuery } from "../generation/protocol.ts";
import {
  POLL_MS,
  awaitAtMost,
  awaitCompletion,
  generationIdOf,
  isCollapsed,
  type CacheOutcome,
  type CompletedGeneration,
  type GenerationResult,
  type PendingGeneration,
} from "../generation/result.ts";
import { recordSavings } from "../generation/settlement.ts";
import { parsePrefer } from "../lib/prefer.ts";
import { retryAfterHeaders } from "../lib/retry-after.ts";
import { eventStreamResponse, SILENCE_MS } from "../respond/event-stream.ts";
import { fileResponse, imageHeaders, wholeFile } from "../respond/file.ts";
import { jsonResponse, type JsonOptions } from "../respond/json.ts";
import { GENERATIONS_PATH } from "./allowed-methods.ts";
import { fileConditions } from "./conditions.ts";
import type { AppEnv } from "./context.ts";

/** Seconds after which a poll is useful. */
const POLL_SECONDS = 2;

/** Sets the headers that say when to poll. */
export function setPollHeaders(c: Context<AppEnv>): void {
  for (const [name, value] of Object.entries(retryAfterHeaders(POLL_SECONDS)))
    c.header(name, value);
}

/** A job whose generation is the response. */
export interface JobOfGeneration {
  /** The fields of the response while the job is queued or in progress. */
  pending: PendingJobResponse;
  /**
   * Returns the fields of the job, whose generation has completed: records that first, if its Workflow has not.
   *
   * @throws {GatewayError} the failure of the job, if it has failed otherwise
   */
  complete(record: GenerationRecord): Promise<JobFields>;
}

/** How to respond with a generation. */
export interface ResponseOptions {
  /** How the images are delivered; in JSON, `format` is the model's default if absent. */
  delivery: Omit<Delivery, "format"> & { format: ResponseFormat | undefined };
  /** How long to wait if the client states no preference. */
  defaultWaitMs: number;
  /** When the wait began, milliseconds since the epoch; now if absent. */
  sinceMs?: number;
  context: GenerationContext;
  c: Context<AppEnv>;
  /** The identifier of the sender, which is repeated in its response. */
  safetyIdentifier?: string | undefined;
  /** The job that started the generation. */
  job?: JobOfGeneration;
  /** Submits the request as a job, and returns 202 with the job's URL. */
  submitJob?: () => Promise<Response>;
}

/**
 * Returns the response for a generation, in the requested form: events, an image, or JSON. If the client
 * does not wait for the end, the response is 202 with the URL for polling.
 *
 * If the generation may fail because of another sender, that URL is a job's: after the response, only a job
 * can start another generation for this request.
 *
 * @throws {GatewayError} the failure of the generation
 */
export async function generationResponse(
  result: GenerationResult,
  options: ResponseOptions,
): Promise<Response> {
  const { delivery, c } = options;
  if (delivery.stream) return streamResponse(result, options);
  if (result.kind === "completed") return completedResponse(result, options);
  const { respondAsync, waitSeconds } = parsePrefer(c.req.header("prefer"));
  const nowMs = Date.now();
  const waitMs = preferredWaitMs(options.defaultWaitMs, c) - (nowMs - (options.sinceMs ?? nowMs));
  const withImages = imageFormat(delivery) === "b64_json";
  const awaited = await options.context.event.time("upstream", () =>
    awaitAtMost(result, { waitMs, withImages }),
  );
  const isPending = awaited.kind === "pending";
  const response = isPending
    ? await pendingGenerationResponse(awaited, options)
    : await completedResponse(awaited, options);
  if (isPending && (respondAsync || waitSeconds !== undefined)) {
    response.headers.set("preference-applied", "respond-async");
  } else if (waitSeconds !== undefined) {
    response.headers.set("preference-applied", `wait=${waitSeconds}`);
  }
  return response;
}

/** Returns how long a client waits for a generation. */
function preferredWaitMs(defaultWaitMs: number, c: Context<AppEnv>): number {
  const { respondAsync, waitSeconds } = parsePrefer(c.req.header("prefer"));
  const defaultMs = respondAsync ? 0 : defaultWaitMs;
  return waitSeconds === undefined ? defaultMs : waitSeconds * 1000;
}

/** Returns how the start of a request's generation waits for news, as its response will. */
export function startQuery(
  delivery: Delivery,
  defaultWaitMs: number,
  c: Context<AppEnv>,
): ProgressQuery {
  const withImages = imageFormat(delivery) === "b64_json";
  return delivery.stream
    ? { seen: 0, waitMs: SILENCE_MS, withImages }
    : {
        seen: WITHOUT_PARTIALS,
        waitMs: Math.min(POLL_MS, preferredWaitMs(defaultWaitMs, c)),
        withImages,
      };
}

/**
 * Returns the first image of a generation as a file, after waiting for it.
 *
 * @param cacheControl of the response
 * @throws {GatewayError} the failure of the generation
 */
export async function imageFileResponse(
  result: GenerationResult,
  cacheControl: string,
  { event }: GenerationContext,
  c: Context<AppEnv>,
): Promise<Response> {
  const completed =
    result.kind === "completed"
      ? result
      : await event.time("upstream", () => awaitCompletion(result, { withImages: true }));
  const { image, open } = firstImage(completed);
  const identity = { etag: `"${completed.record.id}/0"`, cacheControl };
  const { isInObject } = completed;
  const file = { type: image.type, sizeBytes: image.bytes, body: await open(), isInObject };
  return withOutcome(await fileResponse(file, identity, fileConditions(c)), completed, c);
}

/** Returns 202 with the URL for polling a generation or job. */
export function pendingResponse(
  body: PendingResponse | PendingJobResponse,
  c: Context<AppEnv>,
): Response {
  c.header("location", `${GENERATIONS_PATH}/${body.id}`);
  setPollHeaders(c);
  return c.json(body, 202);
}

/**
 * Logs the generation of a request, however the request ends, and counts the request as saved if it cost
 * nothing.
 */
export function recordResult(
  result: GenerationResult,
  spec: ImageSpec,
  accounts: ChargedAccounts,
  c: Context<AppEnv>,
): void {
  c.get("event").add({ generation: generationIdOf(result) });
  const work = recordSavings(result, spec, accounts, c.get("config"));
  if (work !== undefined) c.executionCtx.waitUntil(work);
}

/** Returns the parts of Hono's context that lookups and generations use. */
export function generationContext(c: Context<AppEnv>): GenerationContext {
  return { config: c.get("config"), cache: c.get("cache"), event: c.get("event") };
}

/** Streams a generation. `upstream_ms` ends with the first event: the rest is sent during the generation. */
async function streamResponse(
  result: GenerationResult,
  options: ResponseOptions,
): Promise<Response> {
  const { delivery, context, c } = options;
  const json = jsonOptions(options, delivery.format ?? "b64_json", undefined);
  const response = await context.event.time("upstream", () => eventStreamResponse(result, json));
  return withOutcome(response, result, c);
}

async function completedResponse(
  generation: CompletedGeneration,
  options: ResponseOptions,
): Promise<Response> {
  const { delivery, c } = options;
  const { images, model } = generation.record;
  const job = await options.job?.complete(generation.record);
  if (delivery.asImage && images.length === 1) return imageResponse(generation, c);
  const json = jsonOptions(options, delivery.format ?? defaultResponseFormat(model), job);
  return withOutcome(await jsonResponse(generation, json), generation, c);
}

async function pendingGenerationResponse(
  result: PendingGeneration,
  { job, submitJob, c }: ResponseOptions,
): Promise<Response> {
  if (result.joiner !== undefined && submitJob !== undefined) return submitJob();
  const status = result.isRunning ? ("in_progress" as const) : ("queued" as const);
  const generation = { id: result.client.id, created: result.created, status };
  return withOutcome(pendingResponse(job?.pending ?? generation, c), result, c);
}

/** Returns the only image itself, with its URL in Content-Location. */
async function imageResponse(
  generation: CompletedGeneration,
  c: Context<AppEnv>,
): Promise<Response> {
  const { image, open } = firstImage(generation);
  const headers = {
    ...imageHeaders(image.type),
    "content-length": String(image.bytes),
    "content-location": imageUrl(generation.record, 0, ""),
    vary: "Accept",
  };
  const { isInObject } = generation;
  const body = await wholeFile(
    { body: await open(), sizeBytes: image.bytes, isInObject },
    (writing) => c.executionCtx.waitUntil(writing),
  );
  return withOutcome(new Response(body, { headers }), generation, c);
}

function firstImage({ record, images }: CompletedGeneration) {
  const [image] = record.images;
  const [open] = images;
  if (image === undefined || open === undefined) {
    throw new GatewayError({ code: "generation_not_found" });
  }
  return { image, open };
}

/** Sets the headers about the cache, and logs the outcome. */
function withOutcome(response: Response, result: GenerationResult, c: Context<AppEnv>): Response {
  const { outcome } = result;
  const collapsed = isCollapsed(outcome);
  const event = c.get("event");
  event.add({
    generation: generationIdOf(result),
    cache: collapsed ? "collapsed" : outcome.kind,
  });
  if (result.kind === "completed") {
    const { record } = result;
    const isCharged = outcome.kind !== "hit" && !collapsed;
    const cost = isCharged ? costOfRecord(record, c.get("config")) : 0;
    event.add({
      upstream_model: record.model,
      bytes: record.images.reduce((sum, { bytes }) => sum + bytes, 0),
      cost_usd: cost / MICRO_PER_DOLLAR,
    });
  }
  response.headers.set("cache-status", cacheStatus(outcome));
  response.headers.set("ratelimit-policy", rateLimitPolicy(c.get("config")));
  if (outcome.kind === "hit") response.headers.set("age", String(outcome.ageSeconds));
  return response;
}

/** Returns the Cache-Status of the cache named `darkroom` (RFC 9211). */
function cacheStatus(outcome: CacheOutcome): string {
  if (outcome.kind === "hit") return `darkroom; hit; ttl=${outcome.ttlSeconds}`;
  const forwarded = outcome.kind === "bypass" ? "request" : "miss";
  const collapsed = outcome.collapsed ? "; collapsed" : "";
  return `darkroom; fwd=${forwarded}${collapsed}${outcome.stored ? "; stored" : ""}`;
}

function jsonOptions(
  { c, safetyIdentifier }: ResponseOptions,
  responseFormat: ResponseFormat,
  job: JobFields | undefined,
): JsonOptions {
  return {
    responseFormat,
    origin: new URL(c.req.url).origin,
    waitUntil: (writing) => c.executionCtx.waitUntil(writing),
    more: {
      ...(safetyIdentifier === undefined ? {} : { safety_identifier: safetyIdentifier }),
      ...job,
    },
  };
}
