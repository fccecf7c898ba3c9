import * as z from "zod";
import { KEY_MAX_CHARS } from "../contract/job.ts";
import { ACCESS, errorResponses, REQUEST } from "./errors.ts";
import type { ImageExamples } from "./examples.ts";
import { responseHeaders } from "./headers.ts";
import { jsonContent, type Route } from "./route.ts";
import { pendingJob } from "./schemas.ts";

const TAGS = ["Jobs"];

const accepted = {
  description: "Job accepted.",
  headers: responseHeaders("location", "retry-after"),
  content: jsonContent(pendingJob),
};

const webhookBody = (generationBody: z.ZodType, { least }: ImageExamples) => ({
  required: true,
  content: {
    "application/json": {
      schema: z
        .union([
          generationBody,
          z
            .object({ type: z.string().optional(), data: generationBody })
            .meta({ id: "WebhookEvent" }),
        ])
        .describe("A request, or an event with a request in `data`."),
      examples: {
        request: { summary: "A request", value: least },
        event: { summary: "An event", value: { type: "order.paid", data: least } },
      },
    },
  },
});

/** `POST /v1/webhooks/images`. */
export const submitBySignedWebhook = (
  generationBody: z.ZodType,
  examples: ImageExamples,
): Route => ({
  method: "post",
  path: "/v1/webhooks/images",
  operationId: "submitBySignedWebhook",
  summary: "Submit a job by a signed webhook",
  description:
    "Standard Webhooks, signed with `WEBHOOK_SECRET`. A repeated delivery of the same `webhook-id` returns the same job.",
  tags: TAGS,
  security: [],
  request: {
    headers: z.object({
      "webhook-id": z.string().max(KEY_MAX_CHARS),
      "webhook-timestamp": z.string().describe("Unix seconds."),
      "webhook-signature": z.string().describe("One or more signatures of the form `v1,<base64>`."),
    }),
    body: webhookBody(generationBody, examples),
  },
  responses: {
    202: accepted,
    ...errorResponses(
      "invalid_webhook_signature",
      ...REQUEST,
      "stream_in_job",
      "rate_limit_exceeded",
    ),
  },
});

/** `POST /v1/webhooks/images/{token}`. */
export const submitByWebhookWithToken = (
  generationBody: z.ZodType,
  examples: ImageExamples,
): Route => ({
  method: "post",
  path: "/v1/webhooks/images/{token}",
  operationId: "submitByWebhookWithToken",
  summary: "Submit a job by a webhook that cannot be signed",
  tags: TAGS,
  security: [],
  request: {
    params: z.object({
      token: z.string().describe("An access token with the scope `webhook`."),
    }),
    headers: z.object({
      "webhook-id": z.string().max(KEY_MAX_CHARS).optional(),
      "idempotency-key": z.string().max(KEY_MAX_CHARS).optional(),
    }),
    body: webhookBody(generationBody, examples),
  },
  responses: {
    202: accepted,
    ...errorResponses(
      ...REQUEST,
      "stream_in_job",
      "idempotency_key_reused",
      ...ACCESS.filter((code) => code !== "missing_token"),
    ),
  },
});
