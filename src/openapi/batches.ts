import * as z from "zod";
import { CUSTOM_ID_MAX_CHARS, MAX_REQUESTS, type BatchView } from "../contract/batch.ts";
import { JOB_STATUSES, KEY_MAX_CHARS } from "../contract/job.ts";
import { ACCESS, CANCELLATION, errorResponses, REQUEST } from "./errors.ts";
import type { ImageExamples } from "./examples.ts";
import { exactly } from "./exactly.ts";
import { responseHeaders } from "./headers.ts";
import { CANCELLER, OPTIONAL_TOKEN, jsonContent, type Route } from "./route.ts";
import { delivery, errorBody, imagesResponse, unixSeconds } from "./schemas.ts";

const TAGS = ["Jobs"];

const batchBody = z
  .strictObject({
    requests: z
      .array(
        z.strictObject({
          custom_id: z.string().min(1).max(CUSTOM_ID_MAX_CHARS).describe("Unique in the batch."),
          body: z
            .record(z.string(), z.unknown())
            .describe("A body of POST /v1/images/generations, without `webhook_url` and `stream`."),
        }),
      )
      .min(1)
      .max(MAX_REQUESTS),
    webhook_url: z.url().nullish(),
  })
  .meta({ id: "BatchBody" });

const batch = exactly<BatchView>()(
  z.object({
    id: z.string(),
    object: z.literal("image.batch"),
    created: unixSeconds,
    status: z.enum(["in_progress", "completed"]),
    request_counts: z.object({
      total: z.int(),
      completed: z.int(),
      failed: z.int(),
      cancelled: z.int(),
    }),
    results: z.array(
      z.object({
        custom_id: z.string(),
        job: z.string(),
        status: z.enum(JOB_STATUSES),
        response: imagesResponse.optional(),
        error: errorBody.shape.error.optional(),
        truncated: z
          .literal(true)
          .optional()
          .describe("The texts of the result are too long for a batch. The job has them."),
      }),
    ),
    delivery: delivery.optional(),
  }),
).meta({ id: "Batch" });

const batchContent = jsonContent(batch);

/** `POST /v1/images/batches`. */
export const createBatch = ({ least }: ImageExamples): Route => ({
  method: "post",
  path: "/v1/images/batches",
  operationId: "createBatch",
  summary: `Submit up to ${MAX_REQUESTS} requests as jobs, with one webhook delivery for all`,
  tags: TAGS,
  security: OPTIONAL_TOKEN,
  request: {
    headers: z.object({ "idempotency-key": z.string().max(KEY_MAX_CHARS).optional() }),
    body: {
      required: true,
      content: {
        "application/json": {
          schema: batchBody,
          examples: {
            two: {
              summary: "Two requests",
              value: {
                requests: [
                  { custom_id: "cover", body: least },
                  { custom_id: "back", body: { ...least, prompt: "a man rests" } },
                ],
              },
            },
          },
        },
      },
    },
  },
  responses: {
    202: {
      description: "Batch accepted.",
      headers: responseHeaders("retry-after", "location"),
      content: batchContent,
    },
    ...errorResponses(
      ...REQUEST,
      "invalid_batch_request",
      "stream_in_job",
      "idempotency_key_reused",
      ...ACCESS,
    ),
  },
});

/** `GET /v1/images/batches/{id}`. */
export const getBatch: Route = {
  method: "get",
  path: "/v1/images/batches/{id}",
  operationId: "getBatch",
  summary: "Get a batch with the results so far",
  tags: TAGS,
  security: OPTIONAL_TOKEN,
  request: { params: z.object({ id: z.string().describe("`batch_…`") }) },
  responses: {
    200: {
      description: "The batch.",
      headers: responseHeaders("retry-after"),
      content: batchContent,
    },
    ...errorResponses("batch_not_found", ...ACCESS),
  },
};

/** `DELETE /v1/images/batches/{id}`. */
export const cancelBatch: Route = {
  method: "delete",
  path: "/v1/images/batches/{id}",
  operationId: "cancelBatch",
  summary: "Cancel the jobs of a batch that have not begun",
  tags: TAGS,
  security: CANCELLER,
  request: { params: z.object({ id: z.string().describe("`batch_…`") }) },
  responses: {
    200: {
      description: "The batch. Jobs that have begun run to their end.",
      headers: responseHeaders(),
      content: batchContent,
    },
    ...errorResponses("batch_not_found", ...CANCELLATION),
  },
};
