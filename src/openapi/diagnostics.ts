import * as z from "zod";
import { CHECK_NAMES, type Diagnostics } from "../contract/diagnostics.ts";
import { tokenRow } from "../contract/token-row.ts";
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
    learned_tokens: z
      .array(tokenRow.extend({ output_tokens: z.int(), day: z.string() }))
      .describe(
        "The most output tokens of one image that the upstream has reported in 31 days, by the requested parameters. The budget reserves at least these.",
      ),
  }),
).meta({ id: "Diagnostics" });

/** `GET /v1/diagnostics`. */
export const getDiagnostics: Route = {
  method: "get",
  path: "/v1/diagnostics",
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

/** `GET /v1/doctor`, the same under its older name. */
export const getDoctor: Route = {
  ...getDiagnostics,
  path: "/v1/doctor",
  operationId: "getDoctor",
  deprecated: true,
};

/** `DELETE /v1/diagnostics/learned_tokens`. */
export const resetLearnedTokens: Route = {
  method: "delete",
  path: "/v1/diagnostics/learned_tokens",
  operationId: "resetLearnedTokens",
  summary: "Delete the learned tokens",
  description:
    "The budget then reserves what the token tables say, until the upstream reports more.",
  tags: ["Operator"],
  security: ADMIN_KEY,
  responses: {
    204: { description: "Deleted.", headers: responseHeaders() },
    ...errorResponses(...OPERATOR),
  },
};
