import * as z from "zod";
import { errorResponses, OPERATOR } from "./errors.ts";
import { responseHeaders } from "./headers.ts";
import { ADMIN_KEY, jsonContent, type Route } from "./route.ts";

const counts = {
  images: z.int().describe("Generated images."),
  hits: z.int().describe("Cache hits."),
  collapsed: z.int().describe("Requests that joined a generation in progress."),
  spent_usd: z.number(),
  saved_usd: z.number().describe("The cost of the generations that cache hits avoided."),
};

const usage = z
  .object({
    object: z.literal("usage"),
    budget_usd_per_day: z.number(),
    spent_today_usd: z.number().describe("Includes the reservations of generations in progress."),
    days: z.array(
      z.object({
        day: z.string().describe("YYYY-MM-DD, UTC."),
        ...counts,
        callers: z.array(z.object({ caller: z.string(), model: z.string(), ...counts })),
      }),
    ),
  })
  .meta({ id: "UsageOfDays" });

/** `GET /v1/usage`. */
export const getUsage: Route = {
  method: "get",
  path: "/v1/usage",
  operationId: "getUsage",
  summary: "Get usage and cost of today and the 31 days before",
  tags: ["Operator"],
  security: ADMIN_KEY,
  responses: {
    200: {
      description: "The newest day first.",
      headers: responseHeaders("cache-control"),
      content: jsonContent(usage),
    },
    ...errorResponses(...OPERATOR),
  },
};
