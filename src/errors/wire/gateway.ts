import type { PathHint } from "../failure.ts";
import { orList, type Rows } from "./row.ts";

const INVALID_REQUEST = { type: "invalid_request_error" } as const;
const SERVER_ERROR = { status: 500, type: "server_error" } as const;

/** The errors of URLs and methods, and of the gateway itself. */
export const GATEWAY_ROWS = {
  not_found: {
    ...INVALID_REQUEST,
    status: 404,
    message: ({ hint }) => ["There is nothing at this URL.", ...hintText(hint)].join(" "),
    causes: [
      {
        example: { code: "not_found", hint: undefined },
        cause: "There is nothing at this URL.",
        fix: "Check the path. If it is similar to a path of the API, the message says which base URL to set.",
      },
    ],
  },
  method_not_allowed: {
    ...INVALID_REQUEST,
    status: 405,
    message: ({ allow }) => `This URL does not accept this method. Use ${orList(allow)}.`,
    headers: ({ allow }) => ({ allow: allow.join(", ") }),
    causes: [
      {
        example: { code: "method_not_allowed", allow: ["GET", "HEAD"] },
        cause: "The URL does not accept this method.",
        fix: "Use a method in the `Allow` header.",
      },
      {
        example: { code: "method_not_allowed", allow: ["POST"] },
        cause: "`GET` of a signed URL, and `TOKEN_SECRET` is not set.",
        fix: "Operator: set `TOKEN_SECRET`.",
      },
    ],
  },
  endpoint_retired: {
    ...INVALID_REQUEST,
    status: 410,
    message: "OpenAI retired image variations together with dall-e-2. Use /v1/images/edits.",
    causes: [
      {
        example: { code: "endpoint_retired" },
        cause: "`POST /v1/images/variations`: OpenAI retired it together with dall-e-2.",
        fix: "Use `/v1/images/edits`.",
      },
    ],
  },
  misconfigured: {
    ...SERVER_ERROR,
    message: ({ problems }) => `This gateway is misconfigured: ${problems.join("; ")}.`,
    causes: [
      {
        example: { code: "misconfigured", problems: ["ADMIN_KEY is not set"] },
        cause:
          "The request requires a secret that is not set: `UPSTREAM_API_KEY` (a new image), `ADMIN_KEY` (the operator endpoints), `TOKEN_SECRET` (`POST /v1/tokens`), `WEBHOOK_SECRET` (a signed webhook) or `WEBHOOK_SIGNING_SECRET` (`webhook_url`).",
        fix: "Contact the operator. A retry does not help. Operator: run `npx wrangler secret put` with the name.",
      },
      {
        example: { code: "misconfigured", problems: ["DEFAULT_MODEL must be one of MODELS"] },
        cause: "A variable or a binding is missing or wrong. Every URL returns this error.",
        fix: "Contact the operator. A retry does not help. Operator: follow the message, which names the variable and the reason.",
      },
    ],
  },
  internal_error: {
    ...SERVER_ERROR,
    message:
      "This gateway failed unexpectedly. Retry. If it persists, send the x-request-id header to the operator.",
    causes: [
      {
        example: { code: "internal_error" },
        cause: "The gateway failed unexpectedly, or an account of the budget could not be reached.",
        fix: "Retry. If it persists, send the `x-request-id` to the operator.",
      },
    ],
  },
} satisfies Partial<Rows>;

/** Returns the sentences that say which base URL to set. */
function hintText(hint: PathHint | undefined): string[] {
  if (hint === undefined) return [];
  const { problem, origin } = hint;
  const set = `Set the base URL of the client to '${origin}/v1'`;
  switch (problem) {
    case "base_url":
      return [`${set}.`];
    case "double_version":
      return [
        `The path has '/v1' twice. ${set}, or to '${origin}' if the client adds '/v1' itself.`,
      ];
    case "extra_slash":
      return [`The path has an extra '/'. ${set}, without '/' at its end.`];
    case "azure":
      return [`This is a path of Azure. Use a client for the OpenAI API, not for Azure. ${set}.`];
  }
}
