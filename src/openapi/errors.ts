import type { Failure } from "../errors/failure.ts";
import { exampleOf } from "../errors/wire.ts";
import { responseHeaders } from "./headers.ts";
import type { RouteResponse } from "./route.ts";
import { errorBody } from "./schemas.ts";

type Codes = readonly Failure["code"][];

/** The errors of a body before its parameters are read. */
const JSON_BODY: Codes = ["invalid_json", "unsupported_media_type", "request_too_large"];

/** The errors of any parameters. */
const PARAMETERS: Codes = [
  "missing_required_parameter",
  "invalid_type",
  "invalid_value",
  "unknown_parameter",
];

/** The errors of the parameters of an image request. */
export const IMAGE_PARAMETERS: Codes = [
  ...PARAMETERS,
  "empty_string",
  "string_above_max_length",
  "integer_below_min_value",
  "integer_above_max_value",
  "malformed_value",
  "model_not_served",
  "model_retired",
  "size_not_allowed",
  "invalid_png_output_compression",
  "transparent_without_alpha",
  "stream_with_many_images",
  "unsupported_combination",
];

/** The errors of any JSON body. */
export const BODY: Codes = [...JSON_BODY, ...PARAMETERS];

/** The errors of an image request in a body. */
export const REQUEST: Codes = [...JSON_BODY, ...IMAGE_PARAMETERS];

/** The errors of authentication, authorization and rate limits. */
export const ACCESS: Codes = [
  "missing_token",
  "invalid_token",
  "token_expired",
  "origin_not_allowed",
  "insufficient_scope",
  "model_not_allowed",
  "rate_limit_exceeded",
];

/** The errors of a cache miss: the budget's and the upstream's. */
export const UPSTREAM: Codes = [
  "budget_exceeded",
  "moderation_blocked",
  "upstream_rejected",
  "upstream_unauthorized",
  "upstream_rate_limited",
  "upstream_failed",
  "upstream_unreachable",
  "upstream_invalid_response",
  "upstream_timeout",
  "upstream_outcome_unknown",
];

/** The errors of the operator endpoints' authentication. */
export const OPERATOR: Codes = ["missing_token", "invalid_token", "rate_limit_exceeded"];

/** The errors of the cancellation of a job or batch. */
export const CANCELLATION: Codes = [
  ...OPERATOR,
  "token_expired",
  "origin_not_allowed",
  "insufficient_scope",
  "cancel_not_allowed",
];

/** The errors of every endpoint. */
const ALWAYS: Codes = ["misconfigured", "internal_error"];

/** Returns the error responses by status, with an example of each error. */
export function errorResponses(...codes: Codes): Record<string, RouteResponse> {
  const wires = [...codes, ...ALWAYS].map((name) => ({ name, wire: exampleOf(name) }));
  const byStatus = Map.groupBy(wires, ({ wire }) => wire.status);
  return Object.fromEntries(
    [...byStatus].map(([status, ofStatus]) => {
      const names = new Set(ofStatus.map(({ wire }) => `\`${wire.body.error.code}\``));
      const headers = new Set(ofStatus.flatMap(({ wire }) => Object.keys(wire.headers)));
      return [
        String(status),
        {
          description: [...names].join(", "),
          headers: responseHeaders(...headers),
          content: {
            "application/json": {
              schema: errorBody,
              examples: Object.fromEntries(
                ofStatus.map(({ name, wire }) => [name, { value: wire.body }]),
              ),
            },
          },
        },
      ];
    }),
  );
}
