import { DO_NOT_RETRY, shortened, type Rows } from "./row.ts";

const USER_ERROR = { status: 400, type: "image_generation_user_error" } as const;

/** The errors of an image request, beyond those of its JSON. */
export const IMAGE_REQUEST_ROWS = {
  model_not_served: {
    ...USER_ERROR,
    code: "invalid_value",
    param: "model",
    message: ({ model }) =>
      `The model '${shortened(model)}' is not available here. Use a model listed by GET /v1/models.`,
    causes: [
      {
        example: { code: "model_not_served", model: "midjourney" },
        cause: "`model` is not available on this gateway.",
        fix: "Use a model listed by `GET /v1/models`.",
      },
    ],
  },
  model_retired: {
    ...USER_ERROR,
    code: "invalid_value",
    param: "model",
    message: ({ model, shutdown, successor }) =>
      `OpenAI shut down the model '${shortened(model)}' on ${shutdown}. Use '${successor}' or another model listed by GET /v1/models.`,
    causes: [
      {
        example: {
          code: "model_retired",
          model: "dall-e-3",
          shutdown: "2026-05-12",
          successor: "gpt-image-2.6-sunburst",
        },
        cause: "`model` is a dall-e model that OpenAI has shut down, and OpenAI is the upstream.",
        fix: "Use the successor in the message.",
      },
    ],
  },
  size_not_allowed: {
    ...USER_ERROR,
    code: "invalid_value",
    param: "size",
    message: ({ model, reason }) =>
      `This size is not supported by '${shortened(model)}': ${reason}.`,
    causes: [
      {
        example: {
          code: "size_not_allowed",
          model: "dall-e-2",
          reason: "it must be one of 256x256, 512x512, 1024x1024",
        },
        cause: "The model does not support this `size`.",
        fix: "Follow the rule in the message. `GET /v1/models` lists the sizes.",
      },
    ],
  },
  transparent_without_alpha: {
    ...USER_ERROR,
    code: "invalid_value",
    param: "background",
    message: ({ format }) =>
      `A transparent background requires 'output_format' png or webp, not ${format}.`,
    causes: [
      {
        example: { code: "transparent_without_alpha", format: "jpeg" },
        cause: "`background` is transparent, but `output_format` is not png or webp.",
        fix: "Use png or webp.",
      },
    ],
  },
  unsupported_combination: {
    ...USER_ERROR,
    code: "unsupported_parameter",
    message: ({ param, problem }) => `'${param}' ${problem}.`,
    causes: [
      {
        example: {
          code: "unsupported_combination",
          param: "frame_count",
          problem: "requires 'output_format' gif",
        },
        cause:
          "`frame_count` or `frame_duration_ms` without `output_format` gif, or `svg` without `output_format` svg. Or `stream`, `partial_images` or `output_compression` with gif or svg. Or several images as svg.",
        fix: "Follow the message.",
      },
    ],
  },
  stream_with_many_images: {
    ...USER_ERROR,
    code: "unsupported_parameter",
    param: "n",
    message: "Streaming requires 'n' to be 1. Set 'n' to 1, or do not stream.",
    causes: [
      {
        example: { code: "stream_with_many_images" },
        cause: "`stream` is true, and `n` is larger than 1.",
        fix: "Set `n` to 1, or do not stream.",
      },
    ],
  },
  invalid_png_output_compression: {
    ...USER_ERROR,
    param: "output_compression",
    message:
      "PNG is lossless: an 'output_compression' below 100 requires 'output_format' jpeg or webp.",
    causes: [
      {
        example: { code: "invalid_png_output_compression" },
        cause:
          "`output_compression` is below 100, and `output_format` is png, which is the default.",
        fix: "Use jpeg or webp, or omit `output_compression`.",
      },
    ],
  },
  idempotency_key_reused: {
    type: "invalid_request_error",
    status: 422,
    message: "This Idempotency-Key was used for a different request. Use a new key.",
    causes: [
      {
        example: { code: "idempotency_key_reused" },
        cause:
          "This `Idempotency-Key` was used for a different request. A job with another `webhook_url` is a different request.",
        fix: "Use a new key for each new request.",
      },
    ],
  },
  not_cached: {
    type: "invalid_request_error",
    status: 504,
    message:
      "The image is not cached. Remove 'only-if-cached' from the Cache-Control header to generate it.",
    headers: () => DO_NOT_RETRY,
    causes: [
      {
        example: { code: "not_cached" },
        cause: "The request has `Cache-Control: only-if-cached`, and the image is not cached.",
        fix: "Remove the directive to generate the image.",
      },
    ],
  },
} satisfies Partial<Rows>;
