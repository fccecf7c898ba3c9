import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import { requireAdmin } from "../access/admin.ts";
import { limitRate } from "../access/rate-limit.ts";
import { requireWithinLimits } from "../access/token.ts";
import { pendingJobSchema, takeWebhookUrl } from "../contract/job.ts";
import { NEWEST_RULES, RESPONSE_FORMATS } from "../contract/models.ts";
import { bodySchema, parseImageRequest } from "../contract/request.ts";
import { errorResponses, imagesResponseSchema, pendingSchema } from "../contract/response.ts";
import { GatewayError } from "../errors.ts";
import { findById, generate } from "../generation/generate.ts";
import { handleOf } from "../generation/handle.ts";
import { NOW } from "../generation/job.ts";
import { parseCacheControl } from "../lib/cache-control.ts";
import { parsePrefer } from "../lib/prefer.ts";
import { preferredImage, requireAccepted, requireOneImage } from "../middleware/accept.ts";
import { callerOf } from "../middleware/caller.ts";
import type { AppEnv } from "../middleware/context.ts";
import { idempotencyKeyOf } from "../middleware/idempotency-key.ts";
import { jsonBody } from "../middleware/json-body.ts";
import { count, generateContext, respond, streamed } from "./answer.ts";
import { isJobId, jobAnswer, orderedJob } from "./jobs.ts";

const answers = {
  200: {
    description: "The images",
    content: { "application/json": { schema: imagesResponseSchema } },
  },
  202: {
    description: "They are being made",
    content: { "application/json": { schema: z.union([pendingSchema, pendingJobSchema]) } },
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
          }).extend({
            webhook_url: z.url().optional().openapi({
              description: "Who is to be called back. Needs the header `Prefer: respond-async`.",
            }),
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

/** `/v1/images/generations`, and a generation under it by its id. */
export function generationsRoutes(app: OpenAPIHono<AppEnv>): void {
  // Declared by its schema, but validated by its model's: which names a body may hold depends on
  // the model and the configuration. The answers are written as streams, which no schema checks.
  app.openAPIRegistry.registerPath(postRoute);
  app.post(postRoute.getRoutingPath(), async (c) => {
    const context = generateContext(c);
    const { body, webhookUrl } = takeWebhookUrl(await jsonBody(c));
    const preferred = preferredImage(c);
    const request = parseImageRequest(body, context.config, preferred);
    const { model, size, quality, n, options } = request;
    context.event.add({ model, size, quality, n });
    const caller = await callerOf(c);
    if (caller.token !== undefined) requireWithinLimits(request, caller.token);
    await limitRate(context.config, "requests", caller.rateKey);
    const directives = parseCacheControl(c.req.header("cache-control"));
    if (webhookUrl !== undefined) {
      if (!parsePrefer(c.req.header("prefer")).respondAsync) {
        throw new GatewayError({ code: "webhook_url_without_async" });
      }
      const order = { request, requester: caller, directives, webhookUrl };
      const response = await orderedJob(order, idempotencyKeyOf(c), c);
      response.headers.set("preference-applied", "respond-async");
      return response;
    }
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
        directives,
        idempotencyKey: idempotencyKeyOf(c),
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
    const id = c.req.param("id");
    const options = { preferred, presetWaitMs: 0, context, c };
    if (isJobId(id)) return jobAnswer(id, format, options);
    const found = await findById(id, format, context);
    if (found === undefined) throw new GatewayError({ code: "generation_not_found" });
    return respond(found, format, options);
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
