import { describe, expect, it } from "vitest";
import { type Failure } from "../../../src/errors/failure.ts";
import { toWire } from "../../../src/errors/wire.ts";
import { IGU, IRE, wireOf } from "../../support/failures.ts";

/** Failures with the status, type, param and code of their responses. */
const TABLE: readonly (readonly [Failure, number, string, string | null, string | null])[] = [
  [{ code: "invalid_json", problem: "malformed" }, 400, IRE, null, "invalid_json"],
  [{ code: "invalid_json", problem: "not_an_object" }, 400, IRE, null, "invalid_json"],
  [{ code: "unsupported_media_type" }, 415, IRE, null, "unsupported_media_type"],
  [{ code: "request_too_large", limitBytes: 65_536 }, 413, IRE, null, "request_too_large"],
  [
    { code: "missing_required_parameter", param: "prompt" },
    400,
    IRE,
    "prompt",
    "missing_required_parameter",
  ],
  [
    { code: "invalid_type", param: "n", expected: "an integer", received: "a string" },
    400,
    IRE,
    "n",
    "invalid_type",
  ],
  [
    { code: "invalid_value", param: "quality", allowed: ["low"] },
    400,
    IRE,
    "quality",
    "invalid_value",
  ],
  [{ code: "empty_string", param: "prompt" }, 400, IRE, "prompt", "empty_string"],
  [
    { code: "string_above_max_length", param: "prompt", maxChars: 1000, chars: 1001 },
    400,
    IRE,
    "prompt",
    "string_above_max_length",
  ],
  [
    { code: "integer_below_min_value", param: "n", min: 1 },
    400,
    IRE,
    "n",
    "integer_below_min_value",
  ],
  [
    { code: "integer_above_max_value", param: "n", max: 10 },
    400,
    IRE,
    "n",
    "integer_above_max_value",
  ],
  [
    { code: "unknown_parameter", param: "foo", model: undefined },
    400,
    IRE,
    "foo",
    "unknown_parameter",
  ],
  [
    { code: "unknown_parameter", param: "style", model: "gpt-image-1" },
    400,
    IRE,
    "style",
    "unknown_parameter",
  ],
  [{ code: "model_not_served", model: "x" }, 400, IGU, "model", "invalid_value"],
  [
    { code: "size_not_allowed", model: "x", reason: "it is too small" },
    400,
    IGU,
    "size",
    "invalid_value",
  ],
  [{ code: "stream_with_many_images" }, 400, IGU, "n", "unsupported_parameter"],
  [
    { code: "invalid_png_output_compression" },
    400,
    IGU,
    "output_compression",
    "invalid_png_output_compression",
  ],
  [{ code: "transparent_without_alpha", format: "jpeg" }, 400, IGU, "background", "invalid_value"],
  [{ code: "moderation_blocked", details: undefined }, 400, IGU, null, "moderation_blocked"],
  [{ code: "not_found", hint: undefined }, 404, IRE, null, "not_found"],
  [{ code: "endpoint_retired" }, 410, IRE, null, "endpoint_retired"],
  [
    {
      code: "model_retired",
      model: "dall-e-3",
      shutdown: "2026-05-12",
      successor: "gpt-image-2.6-sunburst",
    },
    400,
    IGU,
    "model",
    "invalid_value",
  ],
  [{ code: "model_not_found" }, 404, IRE, "model", "model_not_found"],
  [{ code: "image_not_found" }, 404, IRE, null, "image_not_found"],
  [{ code: "range_not_satisfiable", sizeBytes: 9 }, 416, IRE, null, "range_not_satisfiable"],
  [{ code: "method_not_allowed", allow: ["GET"] }, 405, IRE, null, "method_not_allowed"],
  [{ code: "not_cached" }, 504, IRE, null, "not_cached"],
  [{ code: "misconfigured", problems: ["X is wrong"] }, 500, "server_error", null, "misconfigured"],
  [{ code: "upstream_unauthorized" }, 502, "upstream_error", null, "upstream_unauthorized"],
  [
    { code: "upstream_rate_limited", retryAfterSeconds: 7 },
    429,
    "rate_limit_error",
    null,
    "upstream_rate_limited",
  ],
  [
    {
      code: "upstream_rejected",
      status: 422,
      error: { message: "It was refused.", type: "some_error", param: "prompt", code: "some_code" },
    },
    422,
    "some_error",
    "prompt",
    "some_code",
  ],
  [
    { code: "upstream_failed", status: 500, mayHaveCharged: false },
    502,
    "upstream_error",
    null,
    "upstream_failed",
  ],
  [
    { code: "upstream_unreachable", mayHaveCharged: true },
    502,
    "upstream_error",
    null,
    "upstream_unreachable",
  ],
  [
    { code: "upstream_invalid_response", reason: "it is empty" },
    502,
    "upstream_error",
    null,
    "upstream_invalid_response",
  ],
  [
    { code: "upstream_timeout", timeoutSeconds: 300 },
    504,
    "upstream_error",
    null,
    "upstream_timeout",
  ],
  [{ code: "internal_error" }, 500, "server_error", null, "internal_error"],
  [
    { code: "upstream_failed", status: undefined, mayHaveCharged: true },
    502,
    "upstream_error",
    null,
    "upstream_failed",
  ],
  [{ code: "upstream_outcome_unknown" }, 502, "upstream_error", null, "upstream_outcome_unknown"],
  [{ code: "idempotency_key_reused" }, 422, IRE, null, "idempotency_key_reused"],
  [{ code: "generation_not_found" }, 404, IRE, null, "generation_not_found"],
  [{ code: "not_acceptable", reason: "the image is image/png" }, 406, IRE, null, "not_acceptable"],
  [{ code: "invalid_signature" }, 403, IRE, null, "invalid_signature"],
  [{ code: "signature_expired" }, 403, IRE, null, "signature_expired"],
  [{ code: "missing_token", credential: "token" }, 401, IRE, null, "missing_token"],
  [
    { code: "invalid_token", credential: "token", problem: "signature" },
    401,
    IRE,
    null,
    "invalid_token",
  ],
  [{ code: "token_expired" }, 401, IRE, null, "token_expired"],
  [{ code: "origin_not_allowed" }, 403, IRE, null, "origin_not_allowed"],
  [{ code: "model_not_allowed", allowed: ["dall-e-2"] }, 403, IRE, null, "model_not_allowed"],
  [{ code: "turnstile_failed", reason: "rejected" }, 403, IRE, null, "turnstile_failed"],
  [
    { code: "rate_limit_exceeded", reason: "requests", retryAfterSeconds: 60, policy: "x" },
    429,
    "rate_limit_error",
    null,
    "rate_limit_exceeded",
  ],
  [
    { code: "budget_exceeded", retryAfterSeconds: undefined },
    429,
    "insufficient_quota",
    null,
    "budget_exceeded",
  ],
  [
    {
      code: "budget_exceeded",
      retryAfterSeconds: undefined,
      above: { variable: "BUDGET_USD_PER_DAY_PER_CALLER", requestUsd: 2.000_505, limitUsd: 1 },
    },
    429,
    "insufficient_quota",
    null,
    "budget_exceeded",
  ],
  [
    { code: "rate_limit_exceeded", reason: "reserved", retryAfterSeconds: 5, policy: "x" },
    429,
    "rate_limit_error",
    null,
    "rate_limit_exceeded",
  ],
  [
    { code: "rate_limit_exceeded", reason: "blocks", retryAfterSeconds: 5, policy: "x" },
    429,
    "rate_limit_error",
    null,
    "rate_limit_exceeded",
  ],
  [
    { code: "malformed_value", param: "sub", problem: "must not be empty" },
    400,
    IRE,
    "sub",
    "invalid_value",
  ],
  [{ code: "invalid_json", problem: "too_deep" }, 400, IRE, null, "invalid_json"],
  [{ code: "batch_not_found" }, 404, IRE, null, "batch_not_found"],
  [{ code: "cancelled" }, 409, IRE, null, "cancelled"],
  [{ code: "cancel_not_allowed" }, 403, IRE, null, "cancel_not_allowed"],
  [{ code: "webhook_url_without_async" }, 400, IRE, "webhook_url", "unsupported_parameter"],
  [{ code: "stream_in_job" }, 400, IRE, "stream", "unsupported_parameter"],
  [{ code: "invalid_webhook_signature", problem: "mismatch" }, 401, IRE, null, "invalid_signature"],
  [{ code: "insufficient_scope", scope: "webhook" }, 403, IRE, null, "insufficient_scope"],
  [{ code: "insufficient_scope", scope: undefined }, 403, IRE, null, "insufficient_scope"],
  [
    {
      code: "invalid_batch_request",
      at: "requests[3].body",
      failure: { code: "model_not_served", model: "m" },
    },
    400,
    IGU,
    "requests[3].body.model",
    "invalid_value",
  ],
  [
    {
      code: "invalid_batch_request",
      at: "requests[3].body",
      failure: { code: "invalid_json", problem: "not_an_object" },
    },
    400,
    IRE,
    "requests[3].body",
    "invalid_json",
  ],
];

describe("the error response of a failure", () => {
  it.each(TABLE)(
    "has for %o the status %i, type %s, param %s and code %s",
    (failure, status, type, param, code) => {
      expect(wireOf(failure)).toEqual({ status, type, param, code });
    },
  );

  it.each(TABLE)("has for %o a short message that ends with a full stop", (failure) => {
    expect(toWire(failure).body.error.message).toMatch(/^\S.{3,200}\.$/s);
  });
});

describe("the headers of an error response", () => {
  it.each<[Failure, string, string]>([
    [{ code: "method_not_allowed", allow: ["GET", "HEAD"] }, "allow", "GET, HEAD"],
    [{ code: "range_not_satisfiable", sizeBytes: 9 }, "content-range", "bytes */9"],
    [{ code: "not_cached" }, "x-should-retry", "false"],
    [{ code: "upstream_outcome_unknown" }, "x-should-retry", "false"],
    [{ code: "missing_token", credential: "token" }, "www-authenticate", "Bearer"],
    [{ code: "budget_exceeded", retryAfterSeconds: undefined }, "x-should-retry", "false"],
    [
      {
        code: "budget_exceeded",
        retryAfterSeconds: undefined,
        above: { variable: "BUDGET_USD_PER_DAY", requestUsd: 2, limitUsd: 1 },
      },
      "x-should-retry",
      "false",
    ],
    [{ code: "upstream_timeout", timeoutSeconds: 1 }, "x-should-retry", "false"],
    [{ code: "upstream_invalid_response", reason: "x" }, "x-should-retry", "false"],
    [
      { code: "upstream_invalid_response", reason: "x", mayHaveCharged: false },
      "x-should-retry",
      "false",
    ],
    [{ code: "upstream_unreachable", mayHaveCharged: true }, "x-should-retry", "false"],
    [{ code: "upstream_failed", status: 504, mayHaveCharged: true }, "x-should-retry", "false"],
  ])("contain for %o only %s: %s", (failure, name, value) => {
    expect(toWire(failure).headers).toEqual({ [name]: value });
  });

  it.each<[Failure]>([
    [{ code: "upstream_rate_limited", retryAfterSeconds: 7 }],
    [{ code: "budget_exceeded", retryAfterSeconds: 7 }],
    [{ code: "rate_limit_exceeded", reason: "requests", retryAfterSeconds: 7, policy: "p" }],
  ])("contain for %o the time to wait in seconds and in milliseconds", (failure) => {
    expect(toWire(failure).headers).toMatchObject({
      "retry-after": "7",
      "retry-after-ms": "7000",
    });
  });

  it.each<[Failure]>([
    [{ code: "upstream_unreachable", mayHaveCharged: false }],
    [{ code: "upstream_failed", status: 500, mayHaveCharged: false }],
    [{ code: "upstream_rate_limited", retryAfterSeconds: undefined }],
    [{ code: "internal_error" }],
  ])("do not forbid a retry for %o", (failure) => {
    expect(toWire(failure).headers).toEqual({});
  });
});

describe("the body of an error response", () => {
  it("names the limit that a request alone is above, and both sums", () => {
    const above = { variable: "BUDGET_USD_PER_DAY", requestUsd: 0.000_001, limitUsd: 0.5 };
    const failure = { code: "budget_exceeded", retryAfterSeconds: undefined, above } as const;
    expect(toWire(failure).body.error.message).toContain(
      "may cost up to 0.000001 USD, and the limit is 0.5 USD (BUDGET_USD_PER_DAY)",
    );
  });

  it("says how the operator raises the limit of a prompt", () => {
    const failure = {
      code: "string_above_max_length",
      param: "prompt",
      maxChars: 1000,
      chars: 1204,
    } as const;
    const raisable = { variable: "PROMPT_MAX_CHARS", maxChars: 32_000 };
    expect(toWire(failure).body.error.message).not.toContain("PROMPT_MAX_CHARS");
    expect(toWire({ ...failure, raisable }).body.error.message).toBe(
      "'prompt' has 1204 characters. At most 1000 are allowed. The operator of this gateway can raise the limit to 32000 with PROMPT_MAX_CHARS.",
    );
  });

  it.each([
    [
      { code: "unknown_parameter", param: "seed", model: "m", variable: "EXTRA_PARAMETERS" },
      "'seed' is not a parameter of the model 'm'. Remove it. The operator of this gateway can allow it with EXTRA_PARAMETERS.",
    ],
    [
      { code: "invalid_value", param: "output_format", allowed: ["png"], variable: "SVG_MODELS" },
      "'output_format' must be png. The operator of this gateway can allow more with SVG_MODELS.",
    ],
    [
      { code: "request_too_large", limitBytes: 65_536 },
      "The body is larger than the limit of 65536 bytes. Shorten it. The operator of this gateway can raise the limit with MAX_BODY_BYTES.",
    ],
  ] as const)("names the variable that the operator can set: %o", (failure, message) => {
    expect(toWire(failure).body.error.message).toBe(message);
  });

  it("shortens a long name that the client chose", () => {
    const long = "x".repeat(5000);
    for (const failure of [
      { code: "unknown_parameter", param: long, model: long },
      { code: "model_not_served", model: long },
      { code: "size_not_allowed", model: long, reason: "no" },
    ] satisfies Failure[]) {
      const { message, param } = toWire(failure).body.error;
      expect(message.length).toBeLessThan(300);
      expect((param ?? "").length).toBeLessThan(100);
    }
  });

  it("contains the upstream's moderation details", () => {
    const details = { categories: ["violence"] };
    const { error } = toWire({ code: "moderation_blocked", details }).body;
    expect(error.moderation_details).toEqual(details);
  });
});
