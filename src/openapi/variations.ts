import { errorResponses } from "./errors.ts";
import type { Route } from "./route.ts";

/** `POST /v1/images/variations`. */
export const createVariation: Route = {
  method: "post",
  path: "/v1/images/variations",
  operationId: "createVariation",
  summary: "Retired with dall-e-2",
  deprecated: true,
  tags: ["Generations"],
  security: [],
  responses: errorResponses("endpoint_retired"),
};
