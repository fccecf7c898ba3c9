import type { Context } from "hono";
import type { ChargedAccounts } from "../access/budget.ts";
import { RATE_LIMIT_POLICY } from "../access/rate-limit.ts";
import type { JobFields, JobStatus } from "../contract/job.ts";
import { defaultResponseFormat, type ResponseFormat } from "../contract/models.ts";
import { costOfRecord, MICRO_PER_DOLLAR, type PricedRequest } from "../contract/pricing.ts";
import { imageUrl } from "../contract/response.ts";
import { GatewayError } from "../errors/failure.ts";
import { recordSavings } from "../generation/savings.ts";
import {
  generationIdOf,
  result,
  type CacheOutcome,
  type GenerationResult,
  type CompletedGeneration,
  type PendingGeneration,
} from "../generation/result.ts";
import type { GenerationContext } from "../generation/cache-lookup.ts";
import type { ImageType } from "../lib/image-type.ts";
import { parsePrefer } from "../lib/prefer.ts";
import { requireAccepted } from "./accept.ts";
import type { AppEnv } from "./context.ts";
import { eventStreamResponse } from "../respond/event-stream.ts";
import { imageHeaders } from "../respond/file.ts";
import { jsonResponse, type JsonOptions } from "../respond/json.ts";

/** Seconds after which a poll makes sense. */
export const POLL_SECONDS = 2;

export interface RespondOptions {
  /** The format that the client would rather have than JSON. */
  preferred: ImageType | undefined;
  /** How long to wait where the client prefers nothing. */
  presetWaitMs: number;
  context: GenerationContext;
  c: Context<AppEnv>;
  /** What the answer says of the job that has it made; absent where there is none. */
  job?: JobFields;
}

/**
 * The result when it is there or can be waited for; else where it will be.
 *
 * @param responseFormat the model's own where absent
 */
export async function respond(
  found: GenerationResult,
  responseFormat: ResponseFormat | undefined,
  options: RespondOptions,
): Promise<Response> {
  if (found.kind === "made") return settled(found, responseFormat, options);
  const { preferred, presetWaitMs, context, c } = options;
  const { respondAsync, waitSeconds } = parsePrefer(c.req.header("prefer"));
  const presetMs = respondAsync ? 0 : presetWaitMs;
  const waitMs = waitSeconds === undefined ? presetMs : waitSeconds * 1000;
  const withImages = preferred !== undefined || responseFormat === "b64_json";
  const done = await context.event.time("upstream", () => result(found, { waitMs, withImages }));
  const response = await settled(done ?? found, responseFormat, options);
  if (done === undefined && (respondAsync || waitSeconds !== undefined)) {
    response.headers.set("preference-applied", "respond-async");
  } else if (waitSeconds !== undefined) {
    response.headers.set("preference-applied", `wait=${waitSeconds}`);
  }
  return response;
}

async function settled(
  found: GenerationResult,
  responseFormat: ResponseFormat | undefined,
  { preferred, c, job }: RespondOptions,
): Promise<Response> {
  if (found.kind === "pending") return pending(found, job, c);
  if (preferred !== undefined) return pictureResponse(found, c);
  const format = responseFormat ?? defaultResponseFormat(found.record.model);
  const options = jsonOptions(c, format);
  // It is made, whatever the job knows by now.
  const more = job === undefined ? {} : { more: { ...job, status: "completed" } };
  return answered(await jsonResponse(found, { ...options, ...more }), found, c);
}

/** A streamed generation takes as long as its first event takes, as far as this request can tell. */
export async function streamed(
  found: GenerationResult,
  responseFormat: ResponseFormat,
  { event }: GenerationContext,
  c: Context<AppEnv>,
): Promise<Response> {
  const options = jsonOptions(c, responseFormat);
  const response = await event.time("upstream", () => eventStreamResponse(found, options));
  return answered(response, found, c);
}

function pending(
  found: PendingGeneration,
  job: JobFields | undefined,
  c: Context<AppEnv>,
): Response {
  const status = found.isRunning ? ("in_progress" as const) : ("queued" as const);
  const { created } = found;
  const body = { id: job?.job ?? found.handle.id, created, ...job, status };
  return answered(pendingResponse(body, c), found, c);
}

/** Where something will be that is not there yet. */
export function pendingResponse(
  body: { id: string; created: number; status: JobStatus } & Partial<JobFields>,
  c: Context<AppEnv>,
): Response {
  c.header("location", `/v1/images/generations/${body.id}`);
  c.header("retry-after", String(POLL_SECONDS));
  return c.json(body, 202);
}

/** The picture itself, and where it can be had again. */
async function pictureResponse(
  generation: CompletedGeneration,
  c: Context<AppEnv>,
): Promise<Response> {
  const { record } = generation;
  const { image, open } = firstImage(generation);
  requireAccepted(image.type, true, c);
  const headers = {
    ...imageHeaders(image.type),
    "content-length": String(image.bytes),
    "content-location": imageUrl(record, 0, ""),
    vary: "Accept",
  };
  return answered(new Response(await open(), { headers }), generation, c);
}

/**
 * The first image of a generation, and how to open it.
 *
 * @throws {GatewayError} `generation_not_found` when it is not at hand
 */
export function firstImage({ record, images }: CompletedGeneration) {
  const [image] = record.images;
  const [open] = images;
  if (image === undefined || open === undefined) {
    throw new GatewayError({ code: "generation_not_found" });
  }
  return { image, open };
}

/** Puts on an answer what the cache did, and into the log which generation it was. */
export function answered(
  response: Response,
  found: GenerationResult,
  c: Context<AppEnv>,
): Response {
  const { outcome } = found;
  const collapsed = outcome.kind !== "hit" && outcome.collapsed;
  const event = c.get("event");
  event.add({
    generation: generationIdOf(found),
    cache: collapsed ? "collapsed" : outcome.kind,
  });
  if (found.kind === "made") {
    const { record } = found;
    const isPaid = outcome.kind !== "hit" && !collapsed;
    const cost = isPaid ? costOfRecord(record, c.get("config").prices) : 0;
    event.add({
      upstream_model: record.model,
      bytes: record.images.reduce((sum, { bytes }) => sum + bytes, 0),
      cost_usd: cost / MICRO_PER_DOLLAR,
    });
  }
  response.headers.set("cache-status", cacheStatus(outcome));
  response.headers.set("ratelimit-policy", RATE_LIMIT_POLICY);
  if (outcome.kind === "hit") response.headers.set("age", String(outcome.ageSeconds));
  return response;
}

/**
 * Puts into the log which generation a request has become, however it ends; and counts the request, if
 * it cost nothing, once the answer is on its way.
 */
export function noteFound(
  found: GenerationResult,
  request: PricedRequest,
  payer: ChargedAccounts,
  c: Context<AppEnv>,
): void {
  c.get("event").add({ generation: generationIdOf(found) });
  const counting = recordSavings(found, request, payer, c.get("config"));
  if (counting !== undefined) c.executionCtx.waitUntil(counting);
}

/** RFC 9211: what the cache named `darkroom` did. */
function cacheStatus(outcome: CacheOutcome): string {
  if (outcome.kind === "hit") return `darkroom; hit; ttl=${outcome.ttlSeconds}`;
  const collapsed = outcome.collapsed ? "; collapsed" : "";
  return `darkroom; fwd=${outcome.kind}${collapsed}${outcome.stored ? "; stored" : ""}`;
}

function jsonOptions(c: Context<AppEnv>, responseFormat: ResponseFormat): JsonOptions {
  return {
    responseFormat,
    origin: new URL(c.req.url).origin,
    waitUntil: (writing) => c.executionCtx.waitUntil(writing),
  };
}

/** What generating needs of a request's context. */
export function generationContext(c: Context<AppEnv>): GenerationContext {
  return { config: c.get("config"), cache: c.get("cache"), event: c.get("event") };
}
