import * as z from "zod";
import { CHECK_NAMES, type Diagnostics } from "../contract/diagnostics.ts";
import { errorResponses, OPERATOR } from "./errors.ts";
import { exactly } from "./exactly.ts";
import { responseHeaders } from "./headers.ts";
import { ADMIN_KEY, jsonContent, type Route } from "./route.ts";

const diagnostics = exactly<Diagnostics>()(
  z.object({
    object: z.literal("doctor"),
    now_ms: z.int().describe("The gateway's clock, in Unix milliseconds."),
    checks: z.array(
      z.object({
        name: z.enum(CHECK_NAMES),
        ok: z.boolean(),
        warning: z
          .literal(true)
          .optional()
          .describe(
            "Present if the part works now, but the operator should change something in time.",
          ),
        detail: z.string(),
        cure: z.string().optional().describe("The fix."),
      }),
    ),
  }),
).meta({ id: "Diagnostics" });

/** `GET /v1/doctor`. */
export const getDiagnostics: Route = {
  method: "get",
  path: "/v1/doctor",
  operationId: "getDiagnostics",
  summary: "Check each part of the gateway, with a fix for each failure",
  description: "`npm run doctor` calls this and prints the result. It costs nothing.",
  tags: ["Operator"],
  security: ADMIN_KEY,
  responses: {
    200: {
      description: "The result of each check.",
      headers: responseHeaders("cache-control"),
      content: jsonContent(diagnostics),
    },
    ...errorResponses(...OPERATOR),
  },
};
