import type { Answer } from "./route.ts";
import { errorSchema } from "../contract/response.ts";
import { type Failure } from "../errors/failure.ts";
import { toWire } from "../errors/wire.ts";
import { onEveryAnswer } from "./headers.ts";

/** One of each: the compiler misses the one that is missing. */
export const SAMPLES: { [Code in Failure["code"]]: Extract<Failure, { code: Code }> } = {
  invalid_json: { code: "invalid_json", problem: "malformed" },
  unsupported_media_type: { code: "unsupported_media_type" },
  request_too_large: { code: "request_too_large", limitBytes: 65_536 },
  missing_required_parameter: { code: "missing_required_parameter", param: "prompt" },
  invalid_type: { code: "invalid_type", param: "n", expected: "an integer", received: "a string" },
  invalid_value: { code: "invalid_value", param: "quality", allowed: ["low", "medium", "high"] },
  malformed_value: {
    code: "malformed_value",
    param: "webhook_url",
    problem: "must be a public https URL",
  },
  empty_string: { code: "empty_string", param: "prompt" },
  string_above_max_length: {
    code: "string_above_max_length",
    param: "prompt",
    maxChars: 1000,
    chars: 1204,
  },
  integer_below_min_value: { code: "integer_below_min_value", param: "n", min: 1 },
  integer_above_max_value: { code: "integer_above_max_value", param: "n", max: 10 },
  unknown_parameter: { code: "unknown_parameter", param: "seed", model: undefined },
  model_not_served: { code: "model_not_served", model: "midjourney" },
  model_retired: {
    code: "model_retired",
    model: "dall-e-3",
    shutdown: "2026-05-12",
    successor: "gpt-image-2.6-sunburst",
  },
  size_not_allowed: {
    code: "size_not_allowed",
    model: "dall-e-2",
    reason: "it must be one of 256x256, 512x512, 1024x1024",
  },
  stream_with_many_images: { code: "stream_with_many_images" },
  invalid_png_output_compression: { code: "invalid_png_output_compression" },
  transparent_without_alpha: { code: "transparent_without_alpha", format: "jpeg" },
  not_found: { code: "not_found", hint: undefined },
  endpoint_retired: { code: "endpoint_retired" },
  model_not_found: { code: "model_not_found" },
  image_not_found: { code: "image_not_found" },
  range_not_satisfiable: { code: "range_not_satisfiable", sizeBytes: 1_572_864 },
  method_not_allowed: { code: "method_not_allowed", allow: ["GET", "HEAD"] },
  not_cached: { code: "not_cached" },
  misconfigured: { code: "misconfigured", problems: ["ADMIN_KEY is not set"] },
  moderation_blocked: { code: "moderation_blocked", details: undefined },
  upstream_rejected: {
    code: "upstream_rejected",
    status: 400,
    error: {
      message: "What the upstream says of the request.",
      type: "invalid_request_error",
      param: null,
      code: "as_upstream",
    },
  },
  upstream_unauthorized: { code: "upstream_unauthorized" },
  upstream_rate_limited: { code: "upstream_rate_limited", retryAfterSeconds: 20 },
  upstream_failed: { code: "upstream_failed", status: 503, mayHaveCharged: false },
  upstream_unreachable: { code: "upstream_unreachable", mayHaveCharged: true },
  upstream_invalid_response: { code: "upstream_invalid_response", reason: "it holds no picture" },
  upstream_timeout: { code: "upstream_timeout", timeoutSeconds: 300 },
  upstream_outcome_unknown: { code: "upstream_outcome_unknown" },
  idempotency_key_reused: { code: "idempotency_key_reused" },
  generation_not_found: { code: "generation_not_found" },
  batch_not_found: { code: "batch_not_found" },
  invalid_batch_request: {
    code: "invalid_batch_request",
    at: "requests[1].body",
    failure: { code: "empty_string", param: "prompt" },
  },
  webhook_url_without_async: { code: "webhook_url_without_async" },
  stream_in_job: { code: "stream_in_job" },
  invalid_webhook_signature: { code: "invalid_webhook_signature", problem: "mismatch" },
  not_acceptable: {
    code: "not_acceptable",
    reason: "pictures are PNG, JPEG or WebP",
    mayHaveCharged: false,
  },
  invalid_signature: { code: "invalid_signature" },
  signature_expired: { code: "signature_expired" },
  missing_token: { code: "missing_token", credential: "token" },
  invalid_token: { code: "invalid_token", credential: "token", problem: "signature" },
  token_expired: { code: "token_expired" },
  origin_not_allowed: { code: "origin_not_allowed" },
  insufficient_scope: { code: "insufficient_scope", scope: undefined },
  model_not_allowed: { code: "model_not_allowed", allowed: ["gpt-image-2"] },
  turnstile_failed: { code: "turnstile_failed", reason: "refused" },
  rate_limit_exceeded: {
    code: "rate_limit_exceeded",
    reason: "requests",
    retryAfterSeconds: 60,
    policy: '"requests";q=300;w=60',
  },
  budget_exceeded: { code: "budget_exceeded", retryAfterSeconds: 3600 },
  internal_error: { code: "internal_error" },
};

type Codes = readonly Failure["code"][];

/** What may be wrong with any JSON body. */
export const BODY: Codes = [
  "invalid_json",
  "unsupported_media_type",
  "request_too_large",
  "missing_required_parameter",
  "invalid_type",
  "invalid_value",
  "unknown_parameter",
];

/** What may be wrong with a request for pictures. */
export const REQUEST: Codes = [
  ...BODY,
  "empty_string",
  "string_above_max_length",
  "integer_below_min_value",
  "integer_above_max_value",
  "model_not_served",
  "model_retired",
  "size_not_allowed",
  "invalid_png_output_compression",
  "transparent_without_alpha",
];

/** What a caller may be refused for. */
export const ACCESS: Codes = [
  "missing_token",
  "invalid_token",
  "token_expired",
  "origin_not_allowed",
  "insufficient_scope",
  "model_not_allowed",
  "rate_limit_exceeded",
];

/** What may come of asking the upstream. */
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

/** What whoever is not the owner may be refused for. */
export const OWNER: Codes = ["missing_token", "invalid_token"];

/** What may happen to any request. */
const ALWAYS: Codes = ["misconfigured", "internal_error"];

/** The responses that say what went wrong, by status, with an example of each error. */
export function errorResponses(...codes: Codes): Record<string, Answer> {
  const wires = [...codes, ...ALWAYS].map((name) => ({ name, wire: toWire(SAMPLES[name]) }));
  const byStatus = Map.groupBy(wires, ({ wire }) => wire.status);
  return Object.fromEntries(
    [...byStatus].map(([status, ofStatus]) => {
      const names = new Set(ofStatus.map(({ wire }) => `\`${wire.body.error.code}\``));
      const headers = new Set(ofStatus.flatMap(({ wire }) => Object.keys(wire.headers)));
      return [
        String(status),
        {
          description: [...names].join(", "),
          headers: onEveryAnswer(...headers),
          content: {
            "application/json": {
              schema: errorSchema(),
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
