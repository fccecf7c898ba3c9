import { z } from "@hono/zod-openapi";
import { pendingJobSchema } from "../contract/job.ts";
import { RESPONSE_FORMATS } from "../contract/models.ts";
import { imagesResponseSchema, pendingSchema } from "../contract/response.ts";
import { IMAGE_TYPES } from "../lib/image-type.ts";
import { ACCESS, errorResponses, OPERATOR, REQUEST, UPSTREAM } from "./errors.ts";
import { onEveryAnswer } from "./headers.ts";
import { generationBody } from "./requests.ts";
import type { Route } from "./route.ts";

const TAG = ["Generations"];
const TOKEN = [{}, { token: [] }];

const picture = { schema: z.string().openapi({ description: "The bytes." }) };
const pictures = Object.fromEntries(IMAGE_TYPES.map((type) => [`image/${type}`, picture]));

const made = () => ({
  description: "The pictures, in the form that was asked for.",
  headers: onEveryAnswer(
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
    "application/json": { schema: imagesResponseSchema() },
    "text/event-stream": {
      schema: z.string().openapi({
        description:
          "With `stream: true`: `image_generation.partial_image` events, then `image_generation.completed`; or `error`.",
      }),
    },
    ...pictures,
  },
});

const pending = () => ({
  description: "It is being made; `Location` says where it will be.",
  headers: onEveryAnswer("location", "retry-after", "preference-applied", "cache-status"),
  content: { "application/json": { schema: z.union([pendingSchema(), pendingJobSchema()]) } },
});

const preferences = z.object({
  prefer: z.string().optional().openapi({
    description:
      "`respond-async`: 202 at once. `wait=N`: the result if it is there within N seconds.",
  }),
  accept: z.string().optional().openapi({
    description: "`image/*`, `image/png` …: the picture itself, where there is one.",
  }),
});

/** `/v1/images/generations`, and a generation under it by its id. */
export const generations = (): Route[] => [
  {
    method: "post",
    path: "/v1/images/generations",
    operationId: "createImage",
    summary: "Make pictures from a prompt",
    description:
      "Identical requests are one generation, whoever asks; what was made before is answered from the cache and costs nothing.",
    tags: TAG,
    security: TOKEN,
    request: {
      headers: preferences.extend({
        "cache-control": z.string().optional().openapi({
          description: "`no-store`, `no-cache`, `max-age=N`, `only-if-cached`.",
        }),
        "idempotency-key": z.string().max(255).optional().openapi({
          description: "The same key and request is the same generation for 24 hours.",
        }),
      }),
      body: {
        required: true,
        content: {
          "application/json": {
            schema: generationBody(),
            examples: {
              least: { summary: "The least", value: { prompt: "a man walks" } },
              document: {
                summary: "The reference document's own",
                value: { size: "1024x1536", prompt: "a man walks", model: "gpt-image-1.5", n: 1 },
              },
              url: {
                summary: "By URL",
                value: { prompt: "a man walks", response_format: "url", quality: "low" },
              },
              sticker: {
                summary: "With a transparent background",
                value: {
                  prompt: "a walking man, as a sticker",
                  background: "transparent",
                  output_format: "webp",
                  output_compression: 80,
                },
              },
              stream: {
                summary: "As it comes",
                value: { prompt: "a man walks", stream: true, partial_images: 2 },
              },
              free: {
                summary: "In a size of one's own",
                value: { prompt: "a man walks", model: "gpt-image-2", size: "1280x720" },
              },
              dalle: {
                summary: "From another family",
                value: {
                  prompt: "a man walks",
                  model: "dall-e-3",
                  quality: "hd",
                  style: "natural",
                },
              },
            },
          },
        },
      },
    },
    responses: {
      200: made(),
      202: pending(),
      ...errorResponses(
        ...REQUEST,
        "malformed_value",
        "stream_with_many_images",
        "webhook_url_without_async",
        "stream_in_job",
        ...ACCESS,
        ...UPSTREAM,
        "not_acceptable",
        "not_cached",
        "idempotency_key_reused",
      ),
    },
  },
  {
    method: "get",
    path: "/v1/images/generations",
    operationId: "getSignedImage",
    summary: "A picture by a signed address, made on its first view",
    description:
      "For the `<img>` of a page that holds no key: the query is a request and `exp`, signed by `sig`. `npm run sign-url` makes one.",
    tags: TAG,
    security: [],
    request: {
      query: z.looseObject({
        prompt: z.string(),
        exp: z.string().openapi({ description: "Unix seconds." }),
        sig: z.string().openapi({ description: "HMAC-SHA256 of the other parameters, sorted." }),
      }),
    },
    responses: {
      200: {
        description: "The picture.",
        headers: onEveryAnswer("cache-status", "age", "cache-control", "etag", "accept-ranges"),
        content: pictures,
      },
      206: {
        description: "The range that was asked for.",
        headers: onEveryAnswer("content-range"),
      },
      304: { description: "The client has it already.", headers: onEveryAnswer("etag") },
      ...errorResponses(
        "invalid_signature",
        "signature_expired",
        "method_not_allowed",
        ...REQUEST.filter((code) => code !== "unsupported_media_type"),
        "not_acceptable",
        "rate_limit_exceeded",
        "range_not_satisfiable",
        ...UPSTREAM,
      ),
    },
  },
  {
    method: "post",
    path: "/v1/images/variations",
    operationId: "createVariation",
    summary: "Retired with dall-e-2",
    deprecated: true,
    tags: TAG,
    security: [],
    responses: errorResponses("endpoint_retired"),
  },
  {
    method: "get",
    path: "/v1/images/generations/{id}",
    operationId: "getGeneration",
    summary: "A generation or a job, over or going on",
    tags: TAG,
    security: TOKEN,
    request: {
      params: z.object({ id: z.string().openapi({ description: "`gen_…` or `job_…`." }) }),
      query: z.object({ response_format: z.enum(RESPONSE_FORMATS).optional() }),
      headers: preferences,
    },
    responses: {
      200: made(),
      202: pending(),
      ...errorResponses(
        "invalid_value",
        "generation_not_found",
        ...ACCESS,
        ...UPSTREAM,
        "not_acceptable",
      ),
    },
  },
  {
    method: "delete",
    path: "/v1/images/generations/{id}",
    operationId: "deleteGeneration",
    summary: "Remove a generation and its pictures",
    tags: TAG,
    security: [{ adminKey: [] }],
    request: { params: z.object({ id: z.string() }) },
    responses: {
      204: { description: "They are gone.", headers: onEveryAnswer() },
      ...errorResponses("generation_not_found", ...OPERATOR),
    },
  },
  {
    method: "get",
    path: "/v1/images/{id}/{file}",
    operationId: "getImage",
    summary: "A picture",
    description: "Public to whoever knows the id, which cannot be guessed. `HEAD` and ranges too.",
    tags: TAG,
    security: [],
    request: {
      params: z.object({
        id: z.string().openapi({ description: "`gen_…`" }),
        file: z.string().openapi({ description: "Index and type.", example: "0.png" }),
      }),
    },
    responses: {
      200: {
        description: "The bytes.",
        headers: onEveryAnswer("cache-control", "etag", "accept-ranges", "content-disposition"),
        content: pictures,
      },
      206: {
        description: "The range that was asked for.",
        headers: onEveryAnswer("content-range"),
      },
      304: { description: "The client has it already.", headers: onEveryAnswer("etag") },
      ...errorResponses("image_not_found", "range_not_satisfiable"),
    },
  },
];
