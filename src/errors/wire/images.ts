import { NOT_FOUND, type Rows } from "./row.ts";

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
  generation_in_progress: {
    status: 409,
    type: "invalid_request_error",
    message: "This generation is in progress. Delete it when it has ended.",
    causes: [
      {
        example: { code: "generation_in_progress" },
        cause: "`DELETE` of a generation that is in progress. Its image is paid for already.",
        fix: "Poll the generation, and delete it when it has ended.",
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
    causes: [
      {
        example: { code: "not_acceptable", reason: "several images require JSON" },
        cause:
          "`n` is larger than 1, but `Accept` or a signed URL requests the response as one image file.",
        fix: "Set `n` to 1, or accept JSON.",
      },
      {
        example: { code: "not_acceptable", reason: "the image is image/png" },
        cause:
          "`Accept` does not allow the format of the image: `output_format`, or PNG if the model has no choice. The check is before the generation, so nothing is charged. An image that exists is returned in its own format.",
        fix: "Accept that format or JSON, or change `output_format`.",
      },
    ],
  },
} satisfies Partial<Rows>;
