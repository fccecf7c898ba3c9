/**
 * Every error as data, and its one translation to the wire.
 *
 * Statuses, types, params and codes are the OpenAI API's own; the messages are ours. A message
 * never holds a prompt, a token or a key.
 */

/** Everything that can go wrong, with what its message needs to know. */
export type Failure =
  | { code: "invalid_json"; problem: "malformed" | "not_an_object" | "too_deep" }
  | { code: "unsupported_media_type" }
  | { code: "request_too_large"; limitBytes: number }
  | { code: "missing_required_parameter"; param: string }
  | { code: "invalid_type"; param: string; expected: string; received: string }
  | { code: "invalid_value"; param: string; allowed: readonly string[] }
  | { code: "empty_string"; param: string }
  /** What a value must be, in words. */
  | { code: "malformed_value"; param: string; problem: string }
  | { code: "string_above_max_length"; param: string; maxChars: number; chars: number }
  | { code: "integer_below_min_value"; param: string; min: number }
  | { code: "integer_above_max_value"; param: string; max: number }
  | { code: "unknown_parameter"; param: string; model: string | undefined }
  | { code: "model_not_served"; model: string }
  | { code: "model_retired"; model: string; shutdown: string; successor: string }
  | { code: "size_not_allowed"; model: string; reason: string }
  | { code: "stream_with_many_images" }
  | { code: "invalid_png_output_compression" }
  | { code: "transparent_without_alpha"; format: string }
  | { code: "not_found"; hint: PathHint | undefined }
  | { code: "endpoint_retired" }
  | { code: "model_not_found" }
  | { code: "image_not_found" }
  | { code: "range_not_satisfiable"; sizeBytes: number }
  | { code: "method_not_allowed"; allow: readonly string[] }
  | { code: "not_cached" }
  | { code: "misconfigured"; problems: readonly string[] }
  | { code: "moderation_blocked"; details: unknown }
  | { code: "upstream_rejected"; status: number; error: UpstreamError }
  | { code: "upstream_unauthorized" }
  | { code: "upstream_rate_limited"; retryAfterSeconds: number | undefined }
  /** Without a status where it failed while it was streaming. */
  | { code: "upstream_failed"; status: number | undefined; mayHaveCharged: boolean }
  | { code: "upstream_unreachable"; mayHaveCharged: boolean }
  | { code: "upstream_invalid_response"; reason: string }
  | { code: "upstream_timeout"; timeoutSeconds: number }
  | { code: "upstream_outcome_unknown" }
  | { code: "idempotency_key_reused" }
  | { code: "generation_not_found" }
  | { code: "batch_not_found" }
  /** What is wrong with one request of a batch, and where that stands. */
  | { code: "invalid_batch_request"; at: string; failure: Failure }
  | { code: "webhook_url_without_async" }
  | { code: "stream_in_job" }
  | { code: "invalid_webhook_signature"; problem: WebhookProblem }
  | { code: "not_acceptable"; reason: string; mayHaveCharged: boolean }
  | { code: "invalid_signature" }
  | { code: "signature_expired" }
  | { code: "missing_token"; credential: Credential }
  | { code: "invalid_token"; credential: Credential; problem: TokenProblem }
  | { code: "token_expired" }
  | { code: "origin_not_allowed" }
  | { code: "insufficient_scope"; scope: string | undefined }
  | { code: "model_not_allowed"; allowed: readonly string[] }
  | { code: "turnstile_failed"; reason: TurnstileProblem }
  | {
      code: "rate_limit_exceeded";
      reason: RateLimitReason;
      retryAfterSeconds: number;
      /** The value of a RateLimit-Policy header. */
      policy: string;
    }
  /** Without a time where it will not be allowed again. */
  | { code: "budget_exceeded"; retryAfterSeconds: number | undefined }
  | { code: "internal_error" };

/** What stands in an Authorization header. */
export type Credential = "admin key" | "token";

export type TokenProblem =
  | "scheme"
  | "mismatch"
  | "malformed"
  | "algorithm"
  | "signature"
  | "not_yet_valid"
  | "oversized"
  | "revoked";

export type TurnstileProblem = "unreachable" | "refused" | "hostname" | "action";

export type WebhookProblem = "missing" | "timestamp" | "mismatch";

/** Which limit was met; the first two are the platform's, by time. */
export type RateLimitReason = "requests" | "generations" | "concurrency";

/** Why a path that ends like one of ours leads nowhere: the client has a wrong base URL. */
export interface PathHint {
  problem: "base_url" | "double_version" | "extra_slash" | "azure";
  /** The gateway's own. */
  origin: string;
}

/** What the upstream said about a request it refused, already bounded and cleaned. */
export interface UpstreamError {
  message: string;
  type: string | null;
  param: string | null;
  code: string | null;
}

/** Thrown by whoever finds the failure, caught in one place (`app.ts`). */
export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.code);
    this.failure = failure;
  }
}

/** A thrown value as a failure: what nobody expected is our own fault, and says nothing of itself. */
export function failureOf(error: unknown): Failure {
  return error instanceof GatewayError ? error.failure : { code: "internal_error" };
}

/** Whether what failed may have been paid for all the same: then it is not asked for again. */
export function mayHaveCharged(failure: Failure): boolean {
  switch (failure.code) {
    case "upstream_failed":
    case "upstream_unreachable":
      return failure.mayHaveCharged;
    case "upstream_invalid_response":
    case "upstream_timeout":
    case "upstream_outcome_unknown":
      return true;
    default:
      return false;
  }
}
