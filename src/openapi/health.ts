import * as z from "zod";
import { errorResponses } from "./errors.ts";
import { responseHeaders } from "./headers.ts";
import { jsonContent, type Route } from "./route.ts";

const presentByName = z.record(z.string(), z.boolean());

const health = z
  .object({
    status: z.literal("ok"),
    version: z.string(),
    bindings: presentByName,
    secrets: presentByName,
    access: z.enum(["public", "token"]),
    turnstile_site_key: z
      .string()
      .nullable()
      .describe(
        "The site key of the Turnstile widget whose tokens POST /v1/tokens accepts; null without one.",
      ),
    budget: z.object({
      usd_per_day: z.number(),
      usd_left: z.number().describe("The rest of today's budget (UTC)."),
    }),
    local_development: z.boolean(),
  })
  .meta({ id: "Health" });

/** `GET /health`. */
export const getHealth: Route = {
  method: "get",
  path: "/health",
  operationId: "getHealth",
  summary: "Get the gateway's status and configuration",
  tags: ["About"],
  security: [],
  responses: {
    200: {
      description: "The gateway works. Lists the names of bindings and secrets, never a value.",
      headers: responseHeaders("cache-control"),
      content: jsonContent(health),
    },
    ...errorResponses(),
  },
};
