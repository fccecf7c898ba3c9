import * as z from "zod";
import { subjectSchema, tokenBody, tokenIdSchema } from "../access/token.ts";
import { turnstileBody } from "../access/turnstile.ts";
import { BODY, errorResponses, OPERATOR } from "./errors.ts";
import { responseHeaders } from "./headers.ts";
import { ADMIN_KEY, jsonContent, type Route } from "./route.ts";
import { unixSeconds } from "./schemas.ts";

const TAGS = ["Operator"];

const token = z
  .object({ token: z.string(), jti: z.string(), sub: z.string(), expires_at: unixSeconds })
  .meta({ id: "Token" });

const revoked = { description: "Revoked.", headers: responseHeaders() };

/** `POST /v1/tokens`. */
export const createToken: Route = {
  method: "post",
  path: "/v1/tokens",
  operationId: "createToken",
  summary: "Create a token, with the admin key or a Turnstile token",
  tags: TAGS,
  security: [...ADMIN_KEY, {}],
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: z.union([
            tokenBody.meta({ id: "TokenBody" }),
            turnstileBody.meta({ id: "VisitorBody" }),
          ]),
          examples: {
            operator: {
              summary: "By the operator, for a page",
              value: {
                sub: "web",
                ttl_seconds: 600,
                origins: ["https://your.example"],
                budget_usd: 0.5,
              },
            },
            visitor: {
              summary: "By a visitor, with the Turnstile widget's token",
              value: { turnstile_token: "of-the-widget" },
            },
          },
        },
      },
    },
  },
  responses: {
    201: {
      description: "The token. It is not shown again.",
      headers: responseHeaders("cache-control"),
      content: jsonContent(token),
    },
    ...errorResponses(
      ...BODY,
      "empty_string",
      "string_above_max_length",
      "malformed_value",
      "integer_below_min_value",
      "integer_above_max_value",
      ...OPERATOR,
      "turnstile_failed",
      "rate_limit_exceeded",
    ),
  },
};

/** `DELETE /v1/tokens/{jti}`. */
export const revokeToken: Route = {
  method: "delete",
  path: "/v1/tokens/{jti}",
  operationId: "revokeToken",
  summary: "Revoke a token",
  tags: TAGS,
  security: ADMIN_KEY,
  request: { params: z.object({ jti: tokenIdSchema }) },
  responses: { 204: revoked, ...errorResponses("malformed_value", ...OPERATOR) },
};

/** `DELETE /v1/tokens?sub=`. */
export const revokeTokensOfSubject: Route = {
  method: "delete",
  path: "/v1/tokens",
  operationId: "revokeTokensOfSubject",
  summary: "Revoke every token that a subject has received so far",
  tags: TAGS,
  security: ADMIN_KEY,
  request: { query: z.object({ sub: subjectSchema }) },
  responses: {
    204: revoked,
    ...errorResponses("missing_required_parameter", "malformed_value", ...OPERATOR),
  },
};
