import { DO_NOT_RETRY, NOT_FOUND, type Rows } from "./row.ts";

/** The errors of images, models and the formats of responses. */
export const IMAGE_ROWS = {
  image_not_found: {
    ...NOT_FOUND,
    message: "This image does not exist or has expired. Send its request again to generate it.",
    causes: [
      {
        example: { code: "image_not_found" },
        cause:
          "The image does not exist or has expired, or the extension of the URL is not its format.",
        fix: "POST the request again.",
      },
    ],
  },
  model_not_found: {
    ...NOT_FOUND,
    param: "model",
    message: "This model is not available here. Use a model listed by GET /v1/models.",
    causes: [
      {
        example: { code: "model_not_found" },
        cause: "`GET /v1/models/{id}`: the model is not available on this gateway.",
        fix: "Use a model listed by `GET /v1/models`.",
      },
    ],
  },
  range_not_satisfiable: {
    status: 416,
    type: "invalid_request_error",
    message: ({ sizeBytes }) =>
      `The range is outside the image, which has ${sizeBytes} bytes. Request a range within it.`,
    headers: ({ sizeBytes }) => ({ "content-range": `bytes */${sizeBytes}` }),
    causes: [
      {
        example: { code: "range_not_satisfiable", sizeBytes: 1_572_864 },
        cause: "The `Range` is outside the image. `Content-Range` has the size of the image.",
        fix: "Request a range within the image.",
      },
    ],
  },
  not_acceptable: {
    status: 406,
    type: "invalid_request_error",
    message: ({ reason }) => `The response does not match the Accept header: ${reason}.`,
    headers: ({ mayHaveCharged }): Record<string, string> => (mayHaveCharged ? DO_NOT_RETRY : {}),
    causes: [
      {
        example: {
          code: "not_acceptable",
          reason: "images are PNG, JPEG or WebP",
          mayHaveCharged: false,
        },
        cause: "`Accept` allows only image formats other than PNG, JPEG and WebP.",
        fix: "Accept PNG, JPEG, WebP or JSON.",
      },
      {
        example: {
          code: "not_acceptable",
          reason: "several images require JSON",
          mayHaveCharged: false,
        },
        cause:
          "`n` is larger than 1, but `Accept` or a signed URL requests the response as one image file.",
        fix: "Set `n` to 1, or accept JSON.",
      },
      {
        example: {
          code: "not_acceptable",
          reason: "the image is image/png",
          mayHaveCharged: false,
        },
        cause:
          "`Accept` does not allow the format of the image: `output_format`, or PNG if the model has no choice. The check is before the generation, so nothing is charged.",
        fix: "Accept that format or JSON, or change `output_format`.",
      },
      {
        example: {
          code: "not_acceptable",
          reason: "the image is image/png",
          mayHaveCharged: true,
        },
        cause: "The same, if the image already exists. It may have been charged.",
        fix: "Accept that format or JSON.",
      },
    ],
  },
} satisfies Partial<Rows>;
