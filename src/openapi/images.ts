import * as z from "zod";
import { errorResponses } from "./errors.ts";
import { fileResponses } from "./image-file.ts";
import type { Route } from "./route.ts";

/** `GET /v1/images/{id}/{file}`. */
export const getImage: Route = {
  method: "get",
  path: "/v1/images/{id}/{file}",
  operationId: "getImage",
  summary: "Get an image",
  description:
    "Needs no token: the id cannot be guessed, and every client that has it may read the image. `HEAD` and range requests work as well.",
  tags: ["Generations"],
  security: [],
  request: {
    params: z.object({
      id: z.string().describe("`gen_…`"),
      file: z.string().meta({
        description: "The index of the image and its type.",
        example: "0.png",
      }),
    }),
  },
  responses: {
    ...fileResponses(),
    ...errorResponses("image_not_found", "range_not_satisfiable", "rate_limit_exceeded"),
  },
};
