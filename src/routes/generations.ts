import type { Hono } from "hono";
import * as z from "zod";
import { requireAdmin } from "../access/admin.ts";
import { splitWebhookUrl } from "../contract/job.ts";
import { RESPONSE_FORMATS } from "../contract/models.ts";
import { imageFormat, parseImageRequest } from "../contract/request.ts";
import { GatewayError } from "../errors/failure.ts";
import { clientOf } from "../generation/client.ts";
import { generate, lookupById } from "../generation/generate.ts";
import { NOW } from "../generation/protocol.ts";
import { preferredImage, requireImageAccepted } from "../http/accept.ts";
import { admitImageRequest, admitLookup } from "../http/admit.ts";
import type { AppEnv } from "../http/context.ts";
import {
  generationContext,
  generationResponse,
  recordResult,
} from "../http/generation-response.ts";
import { idempotencyKeyOf } from "../http/idempotency-key.ts";
import {
  checkedWebhookUrl,
  isJobId,
  jobResponse,
  submittedJobResponse,
} from "../http/job-response.ts";
import { jsonBody } from "../http/json-body.ts";
import { parseCacheControl } from "../lib/cache-control.ts";
import { parsePrefer } from "../lib/prefer.ts";

const PATH = "/v1/images/generations";

const formatSchema = z.enum(RESPONSE_FORMATS).optional();

/** `/v1/images/generations`, and a generation by its id. */
export function generationsRoutes(app: Hono<AppEnv>): void {
  app.post(PATH, async (c) => {
    const context = generationContext(c);
    const nowMs = Date.now();
    const parse = async () => {
      const { body, webhookUrl } = splitWebhookUrl(await jsonBody(c));
      const request = parseImageRequest(body, context.config, nowMs, preferredImage(c));
      return { request, webhookUrl };
    };
    const { caller, request, webhookUrl } = await admitImageRequest({ parse }, c);
    const directives = parseCacheControl(c.req.header("cache-control"));
    if (webhookUrl !== undefined) {
      if (!parsePrefer(c.req.header("prefer")).respondAsync) {
        throw new GatewayError({ code: "webhook_url_without_async" });
      }
      const job = { request, caller, directives, webhookUrl: checkedWebhookUrl(webhookUrl, c) };
      const response = await submittedJobResponse(job, idempotencyKeyOf(c), c);
      response.headers.set("preference-applied", "respond-async");
      return response;
    }
    requireImageAccepted(request, c);
    const idempotencyKey = idempotencyKeyOf(c);
    const result = await generate(request, { caller, directives, idempotencyKey, nowMs }, context);
    recordResult(result, request.spec, caller.payer, c);
    const { delivery } = request;
    const defaultWaitMs = Number.POSITIVE_INFINITY;
    return generationResponse(result, { delivery, defaultWaitMs, context, c });
  });

  app.get(`${PATH}/:id`, async (c) => {
    const context = generationContext(c);
    const requested = formatSchema.safeParse(c.req.query("response_format"));
    if (!requested.success) {
      const allowed = RESPONSE_FORMATS;
      throw new GatewayError({ code: "invalid_value", param: "response_format", allowed });
    }
    await admitLookup(c);
    const accept = preferredImage(c);
    const format = imageFormat({ format: requested.data, accept });
    const options = { delivery: { format, accept, stream: false }, defaultWaitMs: 0, context, c };
    const id = c.req.param("id");
    if (isJobId(id)) return jobResponse(id, options);
    const result = await lookupById(id, format, context);
    if (result === undefined) throw new GatewayError({ code: "generation_not_found" });
    return generationResponse(result, options);
  });

  app.delete(`${PATH}/:id`, async (c) => {
    const { config, cache } = generationContext(c);
    await requireAdmin(c.req.header("authorization"), config.adminKey);
    const id = c.req.param("id");
    const cached = await cache.recordById(id);
    const client = clientOf(config, id);
    const progress = await client?.progress(NOW);
    if (cached === undefined && progress === undefined) {
      throw new GatewayError({ code: "generation_not_found" });
    }
    const deleted = await client?.delete();
    // A location of KV that looked the record up too early does not have it yet.
    const stored = cached ?? deleted;
    if (stored !== undefined) await cache.delete(stored.key, stored.record);
    return c.body(null, 204);
  });
}
