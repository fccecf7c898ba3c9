import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { limitRate } from "../access/rate-limit.ts";
import { requireWithinLimits } from "../access/token.ts";
import { pendingJobSchema, requestInEvent, takeWebhookUrl } from "../contract/job.ts";
import { parseImageRequest } from "../contract/request.ts";
import { errorResponses } from "../contract/response.ts";
import { GatewayError } from "../errors.ts";
import { verifyWebhook } from "../jobs/signature.ts";
import { parseCacheControl } from "../lib/cache-control.ts";
import { webhookCallerOf, WEBHOOK_SENDER, type Caller } from "../middleware/caller.ts";
import type { AppEnv } from "../middleware/context.ts";
import { idempotencyKeyOf } from "../middleware/idempotency-key.ts";
import { jsonBytes, parseJson } from "../middleware/json-body.ts";
import { webhookJob } from "./jobs.ts";

const body = {
  required: true,
  content: {
    "application/json": {
      schema: z.record(z.string(), z.unknown()).openapi({
        description: "A body of POST /v1/images/generations, or an event whose `data` is one.",
      }),
    },
  },
};

const responses = {
  202: {
    description: "It is a job now",
    content: { "application/json": { schema: pendingJobSchema } },
  },
  ...errorResponses,
};

const signedRoute = createRoute({
  method: "post",
  path: "/v1/webhooks/images",
  summary: "Have images made by a webhook that is signed (Standard Webhooks)",
  request: {
    headers: z.object({
      "webhook-id": z.string(),
      "webhook-timestamp": z.string(),
      "webhook-signature": z.string(),
    }),
    body,
  },
  responses,
});

const tokenRoute = createRoute({
  method: "post",
  path: "/v1/webhooks/images/{token}",
  summary: "Have images made by a webhook that cannot be signed",
  request: {
    params: z.object({
      token: z.string().openapi({ description: "An access token with the scope `webhook`." }),
    }),
    body,
  },
  responses,
});

/** `POST /v1/webhooks/images`, signed, and with a token in the address for senders that cannot sign. */
export function webhooksRoutes(app: OpenAPIHono<AppEnv>): void {
  // Declared by their schemas, and read as bytes: a signature is of those.
  app.openAPIRegistry.registerPath(signedRoute);
  app.post(signedRoute.path, async (c) => {
    const { webhookSecrets } = c.get("config");
    if (webhookSecrets.length === 0) {
      throw new GatewayError({ code: "misconfigured", problems: ["WEBHOOK_SECRET is not set"] });
    }
    const bytes = await jsonBytes(c);
    const text = AS_SENT.decode(bytes);
    const id = verifyWebhook((name) => c.req.header(name), text, webhookSecrets);
    return taken(bytes, WEBHOOK_SENDER, id, c);
  });

  app.openAPIRegistry.registerPath(tokenRoute);
  app.post("/v1/webhooks/images/:token", async (c) => {
    const caller = await webhookCallerOf(c.req.param("token"), c);
    const bytes = await jsonBytes(c);
    return taken(bytes, caller, c.req.header("webhook-id") ?? idempotencyKeyOf(c), c);
  });
}

/** Keeps a byte order mark: it was signed too. */
const AS_SENT = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

async function taken(
  bytes: Uint8Array,
  caller: Caller,
  webhookId: string | undefined,
  c: Context<AppEnv>,
): Promise<Response> {
  const config = c.get("config");
  const event = c.get("event");
  const taken = takeWebhookUrl(requestInEvent(parseJson(bytes)));
  const request = parseImageRequest(taken.body, config);
  const { model, size, quality, n } = request;
  event.add({ model, size, quality, n, caller: caller.payer.caller });
  if (caller.token !== undefined) requireWithinLimits(request, caller.token);
  await limitRate(config, "requests", caller.rateKey);
  const directives = parseCacheControl(undefined);
  const order = { request, requester: caller, directives, webhookUrl: taken.webhookUrl };
  return webhookJob(order, webhookId, c);
}
