import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import { requireAdmin } from "../access/admin.ts";
import { limitRate } from "../access/rate-limit.ts";
import { requireWithinLimits } from "../access/token.ts";
import { NEWEST_RULES, RESPONSE_FORMATS } from "../contract/models.ts";
import { bodySchema, parseImageRequest } from "../contract/request.ts";
import { errorResponses, imagesResponseSchema, pendingSchema } from "../contract/response.ts";
import { GatewayError } from "../errors.ts";
import { findById, generate } from "../generation/generate.ts";
import { handleOf } from "../generation/handle.ts";
import { NOW } from "../generation/job.ts";
import { parseCacheControl } from "../lib/cache-control.ts";
import { preferredImage, requireAccepted, requireOneImage } from "../middleware/accept.ts";
import { callerOf } from "../middleware/caller.ts";
import type { AppEnv } from "../middleware/context.ts";
import { jsonBody } from "../middleware/json-body.ts";
import { count, generateContext, respond, streamed } from "./answer.ts";

const answers = {
  200: {
    description: "The images",
    content: { "application/json": { schema: imagesResponseSchema } },
  },
  202: {
    description: "They are being made",
    content: { "application/json": { schema: pendingSchema } },
  },
  ...errorResponses,
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
  responses: { 204: { description: "They are gone" }, ...errorResponses },
});

const IDEMPOTENCY_KEY_MAX_CHARS = 255;

/** `/v1/images/generations`, and a generation under it by its id. */
export function generationsRoutes(app: OpenAPIHono<AppEnv>): void {
  // Declared by its schema, but validated by its model's: which names a body may hold depends on
  // the model and the configuration. The answers are written as streams, which no schema checks.
  app.openAPIRegistry.registerPath(postRoute);
  app.post(postRoute.getRoutingPath(), async (c) => {
    const context = generateContext(c);
    const json = await jsonBody(c);
    const preferred = preferredImage(c);
    const request = parseImageRequest(json, context.config, preferred);
    const { model, size, quality, n, options } = request;
    context.event.add({ model, size, quality, n });
    const caller = await callerOf(c);
    if (caller.token !== undefined) requireWithinLimits(request, caller.token);
    await limitRate(context.config, "requests", caller.rateKey);
    const isStream = options?.stream === true;
    if (preferred !== undefined && !isStream) {
      requireOneImage(n);
      // Where it cannot be chosen it is PNG; refused now, before it costs anything.
      requireAccepted(options?.output_format ?? "png", false, c);
      request.response_format = "b64_json";
    }
    const found = await generate(
      request,
      {
        requester: caller,
        directives: parseCacheControl(c.req.header("cache-control")),
        idempotencyKey: idempotencyKey(c.req.header("idempotency-key")),
      },
      context,
    );
    count(found, request, caller.payer, c);
    if (isStream) return streamed(found, request.response_format, context, c);
    const presetWaitMs = Number.POSITIVE_INFINITY;
    return respond(found, request.response_format, { preferred, presetWaitMs, context, c });
  });

  app.openAPIRegistry.registerPath(getRoute);
  app.get(getRoute.getRoutingPath(), async (c) => {
    const context = generateContext(c);
    const asked = formatQuery.safeParse(c.req.query("response_format"));
    if (!asked.success) {
      const allowed = RESPONSE_FORMATS;
      throw new GatewayError({ code: "invalid_value", param: "response_format", allowed });
    }
    const caller = await callerOf(c);
    await limitRate(context.config, "requests", caller.rateKey);
    const preferred = preferredImage(c);
    const format = preferred === undefined ? asked.data : "b64_json";
    const found = await findById(c.req.param("id"), format, context);
    if (found === undefined) throw new GatewayError({ code: "generation_not_found" });
    return respond(found, format, { preferred, presetWaitMs: 0, context, c });
  });

  app.openapi(deleteRoute, async (c) => {
    const { config, cache } = generateContext(c);
    await requireAdmin(c.req.header("authorization"), config.adminKey);
    const { id } = c.req.valid("param");
    const kept = await cache.recordById(id);
    const handle = handleOf(config, id);
    const progress = await handle?.progress(NOW);
    if (kept === undefined && progress === undefined) {
      throw new GatewayError({ code: "generation_not_found" });
    }
    if (kept !== undefined) await cache.remove(kept.key, kept.record);
    await handle?.forget();
    return c.body(null, 204);
  });
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
