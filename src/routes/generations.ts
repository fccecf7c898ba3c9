import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { requireAdmin } from "../access/admin.ts";
import { defaultResponseFormat, NEWEST_RULES, RESPONSE_FORMATS } from "../contract/models.ts";
import { bodySchema, parseImageRequest } from "../contract/request.ts";
import { errorSchema, imagesResponseSchema, pendingSchema } from "../contract/response.ts";
import { GatewayError } from "../errors.ts";
import {
  findById,
  generate,
  result,
  type CacheOutcome,
  type Found,
  type GenerateContext,
  type PendingGeneration,
} from "../generation/generate.ts";
import { handleOf } from "../generation/handle.ts";
import { parseCacheControl } from "../lib/cache-control.ts";
import { parsePrefer } from "../lib/prefer.ts";
import type { AppEnv } from "../middleware/context.ts";
import { jsonBody } from "../middleware/json-body.ts";
import { eventStreamResponse } from "../respond/event-stream.ts";
import { jsonResponse, type JsonOptions } from "../respond/json.ts";

const errors = {
  default: {
    description: "What went wrong",
    content: { "application/json": { schema: errorSchema } },
  },
};

const answers = {
  200: {
    description: "The images",
    content: { "application/json": { schema: imagesResponseSchema } },
  },
  202: {
    description: "They are being made",
    content: { "application/json": { schema: pendingSchema } },
  },
  ...errors,
};

const postRoute = createRoute({
  method: "post",
  path: "/v1/images/generations",
  summary: "Make images from a prompt",
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: bodySchema(NEWEST_RULES, {
            promptMaxChars: NEWEST_RULES.promptMaxChars,
            requireDocumentedFields: false,
          }),
        },
      },
    },
  },
  responses: answers,
});

const formatQuery = z.enum(RESPONSE_FORMATS).optional();

const byId = { params: z.object({ id: z.string() }) };

const getRoute = createRoute({
  method: "get",
  path: "/v1/images/generations/{id}",
  summary: "A generation, made or in the making",
  request: {
    ...byId,
    query: z.object({ response_format: formatQuery }),
  },
  responses: answers,
});

const deleteRoute = createRoute({
  method: "delete",
  path: "/v1/images/generations/{id}",
  summary: "Remove a generation and its images",
  request: byId,
  responses: { 204: { description: "They are gone" }, ...errors },
});

const IDEMPOTENCY_KEY_MAX_CHARS = 255;

/** Seconds after which a poll makes sense. */
const POLL_SECONDS = 2;

/** `/v1/images/generations`, and a generation under it by its id. */
export function generationsRoutes(app: OpenAPIHono<AppEnv>): void {
  // Declared by its schema, but validated by its model's: which names a body may hold depends on
  // the model and the configuration. The answers are written as streams, which no schema checks.
  app.openAPIRegistry.registerPath(postRoute);
  app.post(postRoute.getRoutingPath(), async (c) => {
    const context = generateContext(c);
    const request = parseImageRequest(await jsonBody(c), context.config);
    const { model, size, quality, n } = request;
    context.event.add({ model, size, quality, n });
    const found = await generate(
      request,
      {
        directives: parseCacheControl(c.req.header("cache-control")),
        idempotencyKey: idempotencyKey(c.req.header("idempotency-key")),
      },
      context,
    );
    if (request.options?.stream === true) {
      return streamed(found, request.response_format, context, c);
    }
    const presetWaitMs = Number.POSITIVE_INFINITY;
    return respond(found, request.response_format, { presetWaitMs, context, c });
  });

  app.openAPIRegistry.registerPath(getRoute);
  app.get(getRoute.getRoutingPath(), async (c) => {
    const context = generateContext(c);
    const asked = formatQuery.safeParse(c.req.query("response_format"));
    if (!asked.success) {
      const allowed = RESPONSE_FORMATS;
      throw new GatewayError({ code: "invalid_value", param: "response_format", allowed });
    }
    const found = await findById(c.req.param("id"), asked.data, context);
    if (found === undefined) throw new GatewayError({ code: "generation_not_found" });
    return respond(found, asked.data, { presetWaitMs: 0, context, c });
  });

  app.openapi(deleteRoute, async (c) => {
    const { config, cache } = generateContext(c);
    await requireAdmin(c.req.header("authorization"), config.adminKey);
    const { id } = c.req.valid("param");
    const kept = await cache.recordById(id);
    const handle = handleOf(config, id);
    const progress = await handle?.progress(0, 0);
    if (kept === undefined && progress === undefined) {
      throw new GatewayError({ code: "generation_not_found" });
    }
    if (kept !== undefined) await cache.remove(kept.key, kept.record);
    await handle?.forget();
    return c.body(null, 204);
  });
}

interface RespondOptions {
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
async function respond(
  found: Found,
  responseFormat: "b64_json" | "url" | undefined,
  { presetWaitMs, context, c }: RespondOptions,
): Promise<Response> {
  const settled = found.kind === "made" ? found : await waited(found, presetWaitMs, context, c);
  if (settled.kind === "pending") return pending(settled, c);
  const format = responseFormat ?? defaultResponseFormat(settled.record.model);
  return answered(jsonResponse(settled, jsonOptions(c, format)), settled, c);
}

/**
 * Waits for a generation, as long as the client prefers.
 *
 * @param presetMs how long where it prefers nothing
 */
async function waited(
  found: PendingGeneration,
  presetMs: number,
  { event }: GenerateContext,
  c: Context<AppEnv>,
): Promise<Found> {
  const { respondAsync, waitSeconds } = parsePrefer(c.req.header("prefer"));
  const waitMs = waitSeconds === undefined ? (respondAsync ? 0 : presetMs) : waitSeconds * 1000;
  const done = await event.time("upstream", () => result(found, waitMs));
  if (waitSeconds !== undefined && done !== undefined) {
    c.header("preference-applied", `wait=${waitSeconds}`);
  } else if (done === undefined && (respondAsync || waitSeconds !== undefined)) {
    c.header("preference-applied", "respond-async");
  }
  return done ?? found;
}

/** A streamed generation takes as long as its first event takes, as far as this request can tell. */
async function streamed(
  found: Found,
  responseFormat: "b64_json" | "url",
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

/** Puts on an answer what the cache did, and into the log which generation it was. */
function answered(response: Response, found: Found, c: Context<AppEnv>): Response {
  const { outcome } = found;
  const id = found.kind === "made" ? found.record.id : found.handle.id;
  const collapsed = outcome.kind !== "hit" && outcome.collapsed;
  c.get("event").add({ generation: id, cache: collapsed ? "collapsed" : outcome.kind });
  response.headers.set("cache-status", cacheStatus(outcome));
  if (outcome.kind === "hit") response.headers.set("age", String(outcome.ageSeconds));
  return response;
}

/** RFC 9211: what the cache named `darkroom` did. */
function cacheStatus(outcome: CacheOutcome): string {
  if (outcome.kind === "hit") return `darkroom; hit; ttl=${outcome.ttlSeconds}`;
  const collapsed = outcome.collapsed ? "; collapsed" : "";
  return `darkroom; fwd=${outcome.kind}${collapsed}${outcome.stored ? "; stored" : ""}`;
}

function generateContext(c: Context<AppEnv>): GenerateContext {
  return { config: c.get("config"), cache: c.get("cache"), event: c.get("event") };
}

function jsonOptions(c: Context<AppEnv>, responseFormat: "b64_json" | "url"): JsonOptions {
  return {
    responseFormat,
    origin: new URL(c.req.url).origin,
    waitUntil: (writing) => c.executionCtx.waitUntil(writing),
  };
}

/** An Idempotency-Key (IETF draft, httpapi-idempotency-key-header); an empty one is none. */
function idempotencyKey(header: string | undefined): string | undefined {
  if (header === undefined || header === "") return undefined;
  if (header.length <= IDEMPOTENCY_KEY_MAX_CHARS) return header;
  throw new GatewayError({
    code: "string_above_max_length",
    param: "Idempotency-Key",
    maxChars: IDEMPOTENCY_KEY_MAX_CHARS,
    chars: header.length,
  });
}
