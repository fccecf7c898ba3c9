import * as z from "zod";
import { errorResponses, IMAGE_PARAMETERS, UPSTREAM } from "./errors.ts";
import { fileResponses } from "./image-file.ts";
import type { Route } from "./route.ts";

/** `GET /v1/images/generations` with a signed query. */
export const getSignedImage: Route = {
  method: "get",
  path: "/v1/images/generations",
  operationId: "getSignedImage",
  summary: "Get an image by a signed URL",
  description:
    "For the `<img>` of a page that has no token. The first view generates the image. The query holds the request's parameters, `exp` and the signature `sig`. `npm run sign-url` creates such a URL.",
  tags: ["Generations"],
  security: [],
  request: {
    query: z.looseObject({
      prompt: z.string(),
      exp: z.string().describe("The expiry of the URL, in Unix seconds."),
      sig: z.string().describe("HMAC-SHA256 of the other parameters, sorted."),
    }),
  },
  responses: {
    ...fileResponses("cache-status", "age", "ratelimit-policy"),
    ...errorResponses(
      "invalid_signature",
      "signature_expired",
      "method_not_allowed",
      ...IMAGE_PARAMETERS,
      "not_acceptable",
      "generation_not_found",
      "rate_limit_exceeded",
      "range_not_satisfiable",
      ...UPSTREAM,
    ),
  },
};
