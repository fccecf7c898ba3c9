import * as z from "zod";
import { errorResponses } from "./errors.ts";
import { responseHeaders } from "./headers.ts";
import { jsonContent, type Route } from "./route.ts";

/** `GET /openapi.json`. */
export const getDocument: Route = {
  method: "get",
  path: "/openapi.json",
  operationId: "getDocument",
  summary: "Get this document",
  tags: ["About"],
  security: [],
  responses: {
    200: {
      description: "OpenAPI 3.1.",
      headers: responseHeaders("cache-control"),
      content: jsonContent(z.looseObject({ openapi: z.string() })),
    },
    ...errorResponses(),
  },
};
