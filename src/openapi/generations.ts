import * as z from "zod";
import { KEY_MAX_CHARS } from "../contract/job.ts";
import { RESPONSE_FORMATS } from "../contract/models.ts";
import { ACCESS, CANCELLATION, errorResponses, REQUEST, UPSTREAM } from "./errors.ts";
import type { ImageExamples } from "./examples.ts";
import { responseHeaders } from "./headers.ts";
import { IMAGE_CONTENT } from "./image-file.ts";
import { CANCELLER, OPTIONAL_TOKEN, jsonContent, type Route } from "./route.ts";
import { imagesResponse, pendingGeneration, pendingJob } from "./schemas.ts";

const TAGS = ["Generations"];

const completed = {
  description: "The images, in the requested form.",
  headers: responseHeaders(
    "cache-status",
    "age",
    "ratelimit-policy",
    "preference-applied",
    "cache-control",
    "content-location",
    "content-disposition",
    "vary",
  ),
  content: {
    "application/json": { schema: imagesResponse },
    "text/event-stream": {
      schema: z
        .string()
        .describe(
          "With `stream: true`: `image_generation.partial_image` events, then `image_generation.completed` or `error`.",
        ),
    },
    ...IMAGE_CONTENT,
  },
};

const pending = {
  description: "Queued or in progress. `Location` is the URL of the result.",
  headers: responseHeaders(
    "location",
    "retry-after",
    "preference-applied",
    "cache-status",
    "ratelimit-policy",
  ),
  content: jsonContent(z.union([pendingGeneration, pendingJob])),
};

const preferences = z.object({
  prefer: z
    .string()
    .optional()
    .describe(
      "`respond-async`: 202 immediately, unless the image already exists. `wait=N`: the result if it is complete within N seconds, otherwise 202.",
    ),
  accept: z
    .string()
    .optional()
    .describe(
      "`image/*`, `image/png` …: the response is the image itself. A new generation with `n` above 1 is 406, unless the header has `*/*`. Several images that exist are JSON.",
    ),
});

/**
 * `POST /v1/images/generations`.
 *
 * @param generationBody the schema of its body
 */
export const createImage = (generationBody: z.ZodType, examples: ImageExamples): Route => ({
  method: "post",
  path: "/v1/images/generations",
  operationId: "createImage",
  summary: "Generate images from a prompt",
  description: "Identical requests of all callers share one generation. A cache hit costs nothing.",
  tags: TAGS,
  security: OPTIONAL_TOKEN,
  request: {
    headers: preferences.extend({
      "cache-control": z
        .string()
        .optional()
        .describe("`no-store`, `no-cache`, `max-age=N`, `only-if-cached`."),
      "idempotency-key": z
        .string()
        .max(KEY_MAX_CHARS)
        .optional()
        .describe("For 24 hours, the same key and request return the same generation."),
    }),
    body: {
      required: true,
      content: {
        "application/json": {
          schema: generationBody,
          examples: examples.all,
        },
      },
    },
  },
  responses: {
    200: completed,
    202: pending,
    ...errorResponses(
      ...REQUEST,
      "webhook_url_without_async",
      "stream_in_job",
      ...ACCESS,
      ...UPSTREAM,
      "not_acceptable",
      "not_cached",
      "generation_not_found",
      "idempotency_key_reused",
    ),
  },
});

/** `GET /v1/images/generations/{id}`. */
export const getGeneration: Route = {
  method: "get",
  path: "/v1/images/generations/{id}",
  operationId: "getGeneration",
  summary: "Get a generation or a job",
  tags: TAGS,
  security: OPTIONAL_TOKEN,
  request: {
    params: z.object({ id: z.string().describe("`gen_…` or `job_…`.") }),
    query: z.object({ response_format: z.enum(RESPONSE_FORMATS).optional() }),
    headers: preferences,
  },
  responses: {
    200: completed,
    202: pending,
    ...errorResponses(
      "invalid_value",
      "generation_not_found",
      "cancelled",
      ...ACCESS,
      ...UPSTREAM,
      "not_acceptable",
      "not_cached",
    ),
  },
};

/** `DELETE /v1/images/generations/{id}`. */
export const deleteGeneration: Route = {
  method: "delete",
  path: "/v1/images/generations/{id}",
  operationId: "deleteGeneration",
  summary: "Delete a generation and its images, or cancel a job",
  description:
    "`gen_…` requires the admin key. `job_…` accepts the admin key, the token that submitted the job, or a token of the same subject.",
  tags: TAGS,
  security: CANCELLER,
  request: { params: z.object({ id: z.string().describe("`gen_…` or `job_…`.") }) },
  responses: {
    200: {
      description: "The job: cancelled, or as it was if it has begun or ended.",
      headers: responseHeaders(),
      content: jsonContent(pendingJob),
    },
    204: {
      description: "Deleted. A failed generation has nothing to delete.",
      headers: responseHeaders(),
    },
    ...errorResponses("generation_not_found", "generation_in_progress", ...CANCELLATION),
  },
};
