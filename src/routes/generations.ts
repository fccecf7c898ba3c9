import type { Context, Hono } from "hono";
import * as z from "zod";
import { parseWebhookUrl } from "../access/webhook-url.ts";
import { splitWebhookUrl } from "../contract/job.ts";
import { RESPONSE_FORMATS } from "../contract/models.ts";
import { imageFormat, safetyIdentifierOf, type ImageRequest } from "../contract/request.ts";
import { failureOf, GatewayError, type Failure } from "../errors/failure.ts";
import type { GenerationContext } from "../generation/context.ts";
import { deleteGeneration } from "../generation/delete.ts";
import { generate, type GenerateOptions } from "../generation/generate.ts";
import { lookupById } from "../generation/lookup.ts";
import type { GenerationResult } from "../generation/result.ts";
import { acceptFailure, preferredImages } from "../http/accept.ts";
import { admitImageRequest, admitLookup } from "../http/admit.ts";
import { GENERATIONS_PATH } from "../http/allowed-methods.ts";
import { requireAdminOf } from "../http/admin.ts";
import type { AppEnv } from "../http/context.ts";
import {
  generationContext,
  generationResponse,
  recordResult,
  startQuery,
  type ResponseOptions,
} from "../http/generation-response.ts";
import { idempotencyKeyOf } from "../http/idempotency-key.ts";
import { imageRequest } from "../http/image-request.ts";
import {
  cancelledJobResponse,
  isJobId,
  jobResponse,
  submittedJobResponse,
} from "../http/job-response.ts";
import { jsonBody } from "../http/json-body.ts";
import { parseCacheControl } from "../lib/cache-control.ts";
import { parsePrefer } from "../lib/prefer.ts";

const formatSchema = z.enum(RESPONSE_FORMATS).optional();

/** Registers `POST /v1/images/generations`, and the lookup and deletion of a generation or job by id. */
export function generationsRoutes(app: Hono<AppEnv>): void {
  app.post(GENERATIONS_PATH, async (c) => {
    const context = generationContext(c);
    const nowMs = Date.now();
    const parse = () => parsePost(nowMs, c);
    const admitted = await admitImageRequest({ maxBytes: context.config.maxBodyBytes, parse }, c);
    const { caller, request, webhookUrl, idempotencyKey, unacceptable } = admitted;
    const directives = parseCacheControl(c.req.header("cache-control"));
    const job = { request, caller, directives, webhookUrl };
    if (webhookUrl !== undefined) {
      const response = await submittedJobResponse(job, idempotencyKey, c);
      response.headers.set("preference-applied", "respond-async");
      return response;
    }
    const { delivery, upstream } = request;
    const defaultWaitMs = Number.POSITIVE_INFINITY;
    const query = startQuery(delivery, defaultWaitMs, c);
    const options = { caller, directives, idempotencyKey, nowMs, query };
    const result =
      unacceptable === undefined || directives.onlyIfCached
        ? await generate(request, options, context)
        : await cachedOrFail(unacceptable, request, options, context);
    recordResult(result, request.spec, caller.payer, c);
    return generationResponse(result, {
      delivery,
      defaultWaitMs,
      sinceMs: nowMs,
      safetyIdentifier: safetyIdentifierOf(upstream),
      // Without the Idempotency-Key, which belongs to the generation: a repetition joins the same one.
      submitJob: () => submittedJobResponse(job, undefined, c),
      context,
      c,
    });
  });

  app.get(`${GENERATIONS_PATH}/:id`, async (c) => {
    const context = generationContext(c);
    const { format, asImage } = await admitLookup(() => parseQuery(c), c);
    const options = { delivery: { format, asImage, stream: false }, defaultWaitMs: 0, context, c };
    const id = c.req.param("id");
    if (isJobId(id)) return jobResponse(id, options);
    const result = await lookupById(id, format, context);
    if (result === undefined) throw new GatewayError({ code: "generation_not_found" });
    return generationResponse(result, options);
  });

  app.delete(`${GENERATIONS_PATH}/:id`, async (c) => {
    const id = c.req.param("id");
    if (isJobId(id)) return cancelledJobResponse(id, c);
    const { config, cache } = generationContext(c);
    await requireAdminOf(c);
    await deleteGeneration(id, config, cache);
    return c.body(null, 204);
  });
}

/**
 * Reads and validates a POST. A `webhook_url` makes it a job and requires `respond-async`. That preference
 * alone only shortens the wait.
 */
async function parsePost(nowMs: number, c: Context<AppEnv>) {
  const config = c.get("config");
  const { body, webhookUrl } = splitWebhookUrl(await jsonBody(c));
  const request = imageRequest(body, nowMs, c, preferredImages(c));
  if (webhookUrl !== undefined && !parsePrefer(c.req.header("prefer")).respondAsync) {
    throw new GatewayError({ code: "webhook_url_without_async" });
  }
  return {
    request,
    unacceptable: acceptFailure(request, c),
    webhookUrl: parseWebhookUrl(webhookUrl, config),
    idempotencyKey: idempotencyKeyOf(c),
  };
}

/**
 * Returns the image that exists for a request whose response cannot be the accepted image. An image that
 * was paid for is returned in its own type.
 *
 * @throws {GatewayError} the failure if there is none, before anything is spent
 */
async function cachedOrFail(
  unacceptable: Failure,
  request: ImageRequest,
  options: GenerateOptions,
  context: GenerationContext,
): Promise<GenerationResult> {
  const directives = { ...options.directives, onlyIfCached: true };
  try {
    // Without the Idempotency-Key, which a request that starts nothing must not claim.
    const lookup = { ...options, directives, idempotencyKey: undefined };
    return await generate(request, lookup, context);
  } catch (error) {
    if (failureOf(error).code !== "not_cached") throw error;
    throw new GatewayError(unacceptable);
  }
}

/** Parses the image format of a lookup, and whether the client prefers the image itself. */
function parseQuery(c: Context<AppEnv>): Pick<ResponseOptions["delivery"], "format" | "asImage"> {
  const requested = formatSchema.safeParse(c.req.query("response_format"));
  if (!requested.success) {
    const allowed = RESPONSE_FORMATS;
    throw new GatewayError({ code: "invalid_value", param: "response_format", allowed });
  }
  const asImage = preferredImages(c) !== undefined;
  return { format: imageFormat({ format: requested.data, asImage }), asImage };
}
