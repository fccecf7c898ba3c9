import type { Hono } from "hono";
import { z } from "zod";
import { requireAdmin } from "../access/admin.ts";
import { limitRate } from "../access/rate-limit.ts";
import { requireWithinLimits } from "../access/token.ts";
import { takeWebhookUrl } from "../contract/job.ts";
import { RESPONSE_FORMATS } from "../contract/models.ts";
import { parseImageRequest } from "../contract/request.ts";
import { GatewayError } from "../errors/failure.ts";
import { lookupById, generate } from "../generation/generate.ts";
import { clientOf } from "../generation/client.ts";
import { NOW } from "../generation/protocol.ts";
import { parseCacheControl } from "../lib/cache-control.ts";
import { parsePrefer } from "../lib/prefer.ts";
import { preferredImage, requireAccepted, requireOneImage } from "../http/accept.ts";
import { callerOf } from "../http/caller.ts";
import type { AppEnv } from "../http/context.ts";
import { idempotencyKeyOf } from "../http/idempotency-key.ts";
import { jsonBody } from "../http/json-body.ts";
import { generationContext, noteFound, respond, streamed } from "../http/generation-response.ts";
import { checkedWebhookUrl, isJobId, jobAnswer, orderedJob } from "../http/job-response.ts";

const PATH = "/v1/images/generations";

const formatSchema = z.enum(RESPONSE_FORMATS).optional();

/** `/v1/images/generations`, and a generation under it by its id. */
export function generationsRoutes(app: Hono<AppEnv>): void {
  app.post(PATH, async (c) => {
    const context = generationContext(c);
    const { body, webhookUrl } = takeWebhookUrl(await jsonBody(c));
    const preferred = preferredImage(c);
    const nowMs = Date.now();
    const request = parseImageRequest(body, context.config, nowMs, preferred);
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
      const order = {
        request,
        requester: caller,
        directives,
        webhookUrl: checkedWebhookUrl(webhookUrl, c),
      };
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
        nowMs,
      },
      context,
    );
    noteFound(found, request, caller.payer, c);
    if (isStream) return streamed(found, request.response_format, context, c);
    const presetWaitMs = Number.POSITIVE_INFINITY;
    return respond(found, request.response_format, { preferred, presetWaitMs, context, c });
  });

  app.get(`${PATH}/:id`, async (c) => {
    const context = generationContext(c);
    const asked = formatSchema.safeParse(c.req.query("response_format"));
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
    const found = await lookupById(id, format, context);
    if (found === undefined) throw new GatewayError({ code: "generation_not_found" });
    return respond(found, format, options);
  });

  app.delete(`${PATH}/:id`, async (c) => {
    const { config, cache } = generationContext(c);
    await requireAdmin(c.req.header("authorization"), config.adminKey);
    const id = c.req.param("id");
    const kept = await cache.recordById(id);
    const handle = clientOf(config, id);
    const progress = await handle?.progress(NOW);
    if (kept === undefined && progress === undefined) {
      throw new GatewayError({ code: "generation_not_found" });
    }
    const held = await handle?.forget();
    // A location that was asked too early does not know yet that KV has it.
    const stored = kept ?? held;
    if (stored !== undefined) await cache.delete(stored.key, stored.record);
    return c.body(null, 204);
  });
}
