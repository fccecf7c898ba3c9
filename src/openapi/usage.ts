import * as z from "zod";
import { errorResponses, OPERATOR } from "./errors.ts";
import { responseHeaders } from "./headers.ts";
import { ADMIN_KEY, jsonContent, type Route } from "./route.ts";

const counts = {
  images: z.int().describe("Generated images."),
  hits: z.int().describe("Cache hits."),
  collapsed: z.int().describe("Requests that joined a generation in progress."),
  spent_usd: z.number(),
  uncertain_usd: z
    .number()
    .describe("The part of `spent_usd` for generations whose outcome is unknown."),
  saved_usd: z.number().describe("The cost of the generations that cache hits avoided."),
};

const usage = z
  .object({
    object: z.literal("usage"),
    budget_usd_per_day: z.number(),
    spent_today_usd: z.number().describe("Includes the reservations of generations in progress."),
    uncertain_usd: z
      .number()
      .describe("The part of today's `spent_usd` for generations whose outcome is unknown."),
    days: z.array(
      z.object({
        day: z.string().describe("YYYY-MM-DD, UTC."),
        ...counts,
        callers: z.array(z.object({ caller: z.string(), model: z.string(), ...counts })),
      }),
    ),
    incomplete: z
      .literal(true)
      .optional()
      .describe(
        "Present if a part of the counts could not be read: `hits`, `collapsed` and `saved_usd` are then too low. The other sums are complete.",
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

const released = z
  .object({
    object: z.literal("usage.released"),
    generations: z.int().describe("The generations whose charges were released."),
    released_usd: z.number(),
    has_more: z
      .boolean()
      .describe("True if charges may remain, so that the request should be repeated."),
  })
  .meta({ id: "ReleasedUsage" });

/** `DELETE /v1/usage/uncertain`. */
export const releaseUncertainUsage: Route = {
  method: "delete",
  path: "/v1/usage/uncertain",
  operationId: "releaseUncertainUsage",
  summary: "Release the charges of generations whose outcome is unknown",
  description:
    "For an upstream outage in which nothing was generated. The amounts return to the budgets of the gateway, the callers and the tokens. A repetition releases nothing twice.",
  tags: ["Operator"],
  security: ADMIN_KEY,
  request: {
    query: z.object({
      day: z
        .string()
        .optional()
        .describe("A UTC day, YYYY-MM-DD. Without it: today and the 31 days before."),
    }),
  },
  responses: {
    200: {
      description: "What was released.",
      headers: responseHeaders(),
      content: jsonContent(released),
    },
    ...errorResponses("malformed_value", ...OPERATOR),
  },
};
