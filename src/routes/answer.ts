import type { Context } from "hono";
import { countUsage, type Payer } from "../access/budget.ts";
import { RATE_LIMIT_POLICY } from "../access/rate-limit.ts";
import { defaultResponseFormat, type ResponseFormat } from "../contract/models.ts";
import { costOf, type PricedRequest } from "../contract/pricing.ts";
import { imageUrl } from "../contract/response.ts";
import { GatewayError } from "../errors.ts";
import {
  result,
  type CacheOutcome,
  type Found,
  type MadeGeneration,
  type PendingGeneration,
} from "../generation/found.ts";
import type { GenerateContext } from "../generation/kept.ts";
import type { ImageType } from "../lib/image-type.ts";
import { parsePrefer } from "../lib/prefer.ts";
import { requireAccepted } from "../middleware/accept.ts";
import type { AppEnv } from "../middleware/context.ts";
import { eventStreamResponse } from "../respond/event-stream.ts";
import { imageHeaders } from "../respond/file.ts";
import { jsonResponse, type JsonOptions } from "../respond/json.ts";

/** Seconds after which a poll makes sense. */
const POLL_SECONDS = 2;

export interface RespondOptions {
  /** The format that the client would rather have than JSON. */
  preferred: ImageType | undefined;
  /** How long to wait where the client prefers nothing. */
  presetWaitMs: number;
  context: GenerateContext;
  c: Context<AppEnv>;
}

/**
 * The result when it is there or can be waited for; else where it will be.
 *
 * @param responseFormat the model's own where absent
 */
export async function respond(
  found: Found,
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
  found: Found,
  responseFormat: ResponseFormat | undefined,
  { preferred, c }: RespondOptions,
): Promise<Response> {
  if (found.kind === "pending") return pending(found, c);
  if (preferred !== undefined) return pictureResponse(found, c);
  const format = responseFormat ?? defaultResponseFormat(found.record.model);
  return answered(await jsonResponse(found, jsonOptions(c, format)), found, c);
}

/** A streamed generation takes as long as its first event takes, as far as this request can tell. */
export async function streamed(
  found: Found,
  responseFormat: ResponseFormat,
  { event }: GenerateContext,
  c: Context<AppEnv>,
): Promise<Response> {
  const options = jsonOptions(c, responseFormat);
  const response = await event.time("upstream", () => eventStreamResponse(found, options));
  return answered(response, found, c);
}

function pending(found: PendingGeneration, c: Context<AppEnv>): Response {
  const { id } = found.handle;
  const status = found.isRunning ? ("in_progress" as const) : ("queued" as const);
  const body = { id, status, created: found.created };
  c.header("location", `/v1/images/generations/${id}`);
  c.header("retry-after", String(POLL_SECONDS));
  return answered(c.json(body, 202), found, c);
}

/** The picture itself, and where it can be had again. */
async function pictureResponse(generation: MadeGeneration, c: Context<AppEnv>): Promise<Response> {
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
export function firstImage({ record, images }: MadeGeneration) {
  const [image] = record.images;
  const [open] = images;
  if (image === undefined || open === undefined) {
    throw new GatewayError({ code: "generation_not_found" });
  }
  return { image, open };
}

/** Puts on an answer what the cache did, and into the log which generation it was. */
export function answered(response: Response, found: Found, c: Context<AppEnv>): Response {
  const { outcome } = found;
  const id = found.kind === "made" ? found.record.id : found.handle.id;
  const collapsed = outcome.kind !== "hit" && outcome.collapsed;
  c.get("event").add({ generation: id, cache: collapsed ? "collapsed" : outcome.kind });
  response.headers.set("cache-status", cacheStatus(outcome));
  response.headers.set("ratelimit-policy", RATE_LIMIT_POLICY);
  if (outcome.kind === "hit") response.headers.set("age", String(outcome.ageSeconds));
  return response;
}

/** Counts a request that cost nothing: it found what was made before, or joined what goes on. */
export function count(
  { outcome, ...found }: Found,
  request: PricedRequest,
  { caller }: Payer,
  c: Context<AppEnv>,
): void {
  const isCollapsed = outcome.kind !== "hit" && outcome.collapsed;
  if (outcome.kind !== "hit" && !isCollapsed) return;
  const config = c.get("config");
  const { actual } = costOf(request, config.prices);
  const saved = found.kind === "made" ? actual(found.record.usage, found.record.images.length) : 0;
  const writing = countUsage(config, {
    caller,
    model: request.upstreamModel,
    hits: isCollapsed ? 0 : 1,
    collapsed: isCollapsed ? 1 : 0,
    saved,
  });
  if (writing !== undefined) c.executionCtx.waitUntil(writing);
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
export function generateContext(c: Context<AppEnv>): GenerateContext {
  return { config: c.get("config"), cache: c.get("cache"), event: c.get("event") };
}
