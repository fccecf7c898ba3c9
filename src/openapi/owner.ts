import { z } from "@hono/zod-openapi";
import { tokenBody } from "../access/token.ts";
import { turnstileBody } from "../access/turnstile.ts";
import { doctorSchema } from "../contract/diagnostics.ts";
import { BODY, errorResponses, OPERATOR } from "./errors.ts";
import { onEveryAnswer } from "./headers.ts";
import type { Route } from "./route.ts";

const TAG = ["Owner"];
const ADMIN = [{ adminKey: [] }];

const token = () =>
  z
    .object({
      token: z.string(),
      jti: z.string(),
      sub: z.string(),
      expires_at: z.int().openapi({ description: "Unix seconds." }),
    })
    .openapi("Token");

const counts = () => ({
  images: z.int().openapi({ description: "Pictures that were made." }),
  hits: z.int().openapi({ description: "Requests answered with what was made before." }),
  collapsed: z.int().openapi({ description: "Requests that joined one that was going on." }),
  spent_usd: z.number(),
  saved_usd: z.number().openapi({ description: "What the hits would have cost." }),
});

const usage = () =>
  z
    .object({
      object: z.literal("usage"),
      budget_usd_per_day: z.number(),
      spent_today_usd: z.number().openapi({
        description: "With what is reserved for pictures that are being made.",
      }),
      days: z.array(
        z.object({
          day: z.string().openapi({ description: "YYYY-MM-DD, UTC." }),
          ...counts(),
          callers: z.array(z.object({ caller: z.string(), model: z.string(), ...counts() })),
        }),
      ),
    })
    .openapi("UsageOfDays");

const revoked = () => ({
  204: { description: "It is good no more.", headers: onEveryAnswer() },
});

/** `/v1/tokens`, `/v1/usage` and `/v1/doctor`. */
export const owner = (): Route[] => [
  {
    method: "post",
    path: "/v1/tokens",
    operationId: "createToken",
    summary: "Make a token, with the admin key or a Turnstile token",
    tags: TAG,
    security: [...ADMIN, {}],
    request: {
      body: {
        required: true,
        content: {
          "application/json": {
            // Anew: only what is made after the library was loaded can be named for it.
            schema: z.union([
              z.strictObject(tokenBody.shape).openapi("TokenBody"),
              z.strictObject(turnstileBody.shape).openapi("VisitorBody"),
            ]),
            examples: {
              owner: {
                summary: "By the owner, for a page",
                value: {
                  sub: "web",
                  ttl_seconds: 600,
                  origins: ["https://your.example"],
                  budget_usd: 0.5,
                },
              },
              visitor: {
                summary: "By a visitor's widget",
                value: { turnstile_token: "of-the-widget" },
              },
            },
          },
        },
      },
    },
    responses: {
      201: {
        description: "The token, which is not shown again.",
        headers: onEveryAnswer("cache-control"),
        content: { "application/json": { schema: token() } },
      },
      ...errorResponses(
        ...BODY,
        "malformed_value",
        "integer_below_min_value",
        "integer_above_max_value",
        ...OPERATOR,
        "turnstile_failed",
        "rate_limit_exceeded",
      ),
    },
  },
  {
    method: "delete",
    path: "/v1/tokens/{jti}",
    operationId: "revokeToken",
    summary: "Revoke a token",
    tags: TAG,
    security: ADMIN,
    request: { params: z.object({ jti: z.string() }) },
    responses: { ...revoked(), ...errorResponses(...OPERATOR) },
  },
  {
    method: "delete",
    path: "/v1/tokens",
    operationId: "revokeTokensOfSubject",
    summary: "Revoke every token that a subject was given so far",
    tags: TAG,
    security: ADMIN,
    request: { query: z.object({ sub: z.string() }) },
    responses: { ...revoked(), ...errorResponses("missing_required_parameter", ...OPERATOR) },
  },
  {
    method: "get",
    path: "/v1/usage",
    operationId: "getUsage",
    summary: "What was made and spent, today and on the 31 days before",
    tags: TAG,
    security: ADMIN,
    responses: {
      200: {
        description: "The newest day first.",
        headers: onEveryAnswer("cache-control"),
        content: { "application/json": { schema: usage() } },
      },
      ...errorResponses(...OPERATOR),
    },
  },
  {
    method: "get",
    path: "/v1/doctor",
    operationId: "getDoctor",
    summary: "What works, and what to do about what does not",
    description: "`npm run doctor` asks for this, and shows it. Costs nothing.",
    tags: TAG,
    security: ADMIN,
    responses: {
      200: {
        description: "Each part, from within.",
        headers: onEveryAnswer("cache-control"),
        content: { "application/json": { schema: doctorSchema() } },
      },
      ...errorResponses(...OPERATOR),
    },
  },
];
