import { z } from "@hono/zod-openapi";
import { batchBodySchema, batchSchema } from "../contract/batch.ts";
import { pendingJobSchema } from "../contract/job.ts";
import { ACCESS, errorResponses, REQUEST } from "./errors.ts";
import { onEveryAnswer } from "./headers.ts";
import { generationBody } from "./requests.ts";
import type { Route } from "./route.ts";

const TAG = ["Jobs"];
const TOKEN = [{}, { token: [] }];

const job = () => ({
  202: {
    description: "It is a job now.",
    headers: onEveryAnswer("location", "retry-after"),
    content: { "application/json": { schema: pendingJobSchema() } },
  },
});

const webhookBody = () => ({
  required: true,
  content: {
    "application/json": {
      schema: z
        .union([
          generationBody(),
          z.object({ type: z.string().optional(), data: generationBody() }).openapi("OrderEvent"),
        ])
        .openapi({ description: "A request, or an event whose `data` is one." }),
      examples: {
        request: { summary: "A request", value: { prompt: "a man walks" } },
        event: {
          summary: "An event",
          value: { type: "order.paid", data: { prompt: "a man walks" } },
        },
      },
    },
  },
});

const batch = (description: string, ...headers: string[]) => ({
  description,
  headers: onEveryAnswer("retry-after", ...headers),
  content: { "application/json": { schema: batchSchema() } },
});

/** `/v1/webhooks/images` and `/v1/images/batches`. */
export const jobs = (): Route[] => [
  {
    method: "post",
    path: "/v1/webhooks/images",
    operationId: "orderBySignedWebhook",
    summary: "Have pictures made by a webhook that is signed",
    description:
      "Standard Webhooks, with `WEBHOOK_SECRET`. Another delivery of the same `webhook-id` is the same job.",
    tags: TAG,
    security: [],
    request: {
      headers: z.object({
        "webhook-id": z.string().max(255),
        "webhook-timestamp": z.string().openapi({ description: "Unix seconds." }),
        "webhook-signature": z.string().openapi({ description: "`v1,<base64>`, or several." }),
      }),
      body: webhookBody(),
    },
    responses: {
      ...job(),
      ...errorResponses(
        "invalid_webhook_signature",
        ...REQUEST,
        "malformed_value",
        "stream_in_job",
        "rate_limit_exceeded",
      ),
    },
  },
  {
    method: "post",
    path: "/v1/webhooks/images/{token}",
    operationId: "orderByWebhookWithToken",
    summary: "Have pictures made by a webhook that cannot be signed",
    tags: TAG,
    security: [],
    request: {
      params: z.object({
        token: z.string().openapi({ description: "An access token with the scope `webhook`." }),
      }),
      headers: z.object({
        "webhook-id": z.string().optional(),
        "idempotency-key": z.string().max(255).optional(),
      }),
      body: webhookBody(),
    },
    responses: {
      ...job(),
      ...errorResponses(
        ...REQUEST,
        "malformed_value",
        "stream_in_job",
        "idempotency_key_reused",
        ...ACCESS.filter((code) => code !== "missing_token"),
      ),
    },
  },
  {
    method: "post",
    path: "/v1/images/batches",
    operationId: "createBatch",
    summary: "Have up to 100 requests made, and be called back once",
    tags: TAG,
    security: TOKEN,
    request: {
      headers: z.object({ "idempotency-key": z.string().max(255).optional() }),
      body: {
        required: true,
        content: {
          "application/json": {
            schema: batchBodySchema(),
            examples: {
              two: {
                summary: "Two pictures",
                value: {
                  requests: [
                    { custom_id: "cover", body: { prompt: "a man walks", size: "1024x1536" } },
                    { custom_id: "back", body: { prompt: "a man rests" } },
                  ],
                },
              },
            },
          },
        },
      },
    },
    responses: {
      202: batch("They are being made.", "location"),
      ...errorResponses(
        ...REQUEST,
        "malformed_value",
        "invalid_batch_request",
        "stream_in_job",
        "idempotency_key_reused",
        ...ACCESS,
      ),
    },
  },
  {
    method: "get",
    path: "/v1/images/batches/{id}",
    operationId: "getBatch",
    summary: "A batch, with the results that are there",
    tags: TAG,
    security: TOKEN,
    request: { params: z.object({ id: z.string().openapi({ description: "`batch_…`" }) }) },
    responses: {
      200: batch("The batch."),
      ...errorResponses("batch_not_found", ...ACCESS),
    },
  },
];
