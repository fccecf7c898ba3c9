/**
 * Every error as data. `wire.ts` translates it to the response.
 *
 * Statuses, types, params and codes are those of the OpenAI API where it has the same error. The messages
 * are this gateway's. A message never contains a prompt, a token or a key.
 */

/** Every failure, with the values that its message contains. */
export type Failure =
  | { code: "invalid_json"; problem: "malformed" | "not_an_object" | "too_deep" }
  | { code: "unsupported_media_type" }
  | { code: "request_too_large"; limitBytes: number }
  | { code: "missing_required_parameter"; param: string }
  | { code: "invalid_type"; param: string; expected: string; received: string }
  /** `variable` is the one with which the operator can allow more. */
  | { code: "invalid_value"; param: string; allowed: readonly string[]; variable?: string }
  | { code: "empty_string"; param: string }
  /** `problem` completes the sentence: "must be a public https URL". */
  | { code: "malformed_value"; param: string; problem: string }
  /** `raisable` names the variable with which the operator can raise the limit, and how far. */
  | {
      code: "string_above_max_length";
      param: string;
      maxChars: number;
      chars: number;
      raisable?: { variable: string; maxChars: number };
    }
  | { code: "integer_below_min_value"; param: string; min: number }
  | { code: "integer_above_max_value"; param: string; max: number }
  /** `variable` is the one with which the operator can allow it. */
  | { code: "unknown_parameter"; param: string; model: string | undefined; variable?: string }
  | { code: "model_not_served"; model: string }
  | { code: "model_retired"; model: string; shutdown: string; successor: string }
  /** `reason` is a clause: "it must be auto". */
  | { code: "size_not_allowed"; model: string; reason: string }
  | { code: "stream_with_many_images" }
  | { code: "invalid_png_output_compression" }
  | { code: "transparent_without_alpha"; format: string }
  /** `problem` completes the sentence: "requires 'output_format' gif". */
  | { code: "unsupported_combination"; param: string; problem: string }
  | { code: "not_found"; hint: PathHint | undefined }
  | { code: "endpoint_retired" }
  | { code: "model_not_found" }
  | { code: "image_not_found" }
  | { code: "range_not_satisfiable"; sizeBytes: number }
  | { code: "method_not_allowed"; allow: readonly string[] }
  | { code: "not_cached" }
  /** Each problem is a clause: "ADMIN_KEY is not set". */
  | { code: "misconfigured"; problems: readonly string[] }
  /** `identity` is a hash of the sender's identifiers, if the failure may be because of them. */
  | { code: "moderation_blocked"; details: unknown; identity?: string }
  /** `isAboutSender` is true if the error is about the identifier of the end user. */
  | {
      code: "upstream_rejected";
      status: number;
      error: UpstreamError;
      isAboutSender?: boolean;
      identity?: string;
    }
  /** Other requests with the same Idempotency-Key start at the same time. */
  | { code: "idempotency_key_busy" }
  | { code: "upstream_unauthorized" }
  | { code: "upstream_rate_limited"; retryAfterSeconds: number | undefined }
  /** Without a status if it failed during streaming. */
  | { code: "upstream_failed"; status: number | undefined; mayHaveCharged: boolean }
  | { code: "upstream_unreachable"; mayHaveCharged: boolean }
  /**
   * `reason` is a clause: "it contains no image". Without `mayHaveCharged` it may have been charged: earlier
   * versions store none.
   */
  | { code: "upstream_invalid_response"; reason: string; mayHaveCharged?: boolean }
  | { code: "upstream_timeout"; timeoutSeconds: number }
  | { code: "upstream_outcome_unknown" }
  | { code: "idempotency_key_reused" }
  | { code: "generation_not_found" }
  | { code: "generation_in_progress" }
  | { code: "batch_not_found" }
  /** The client cancelled the job before it started a generation. */
  | { code: "cancelled" }
  | { code: "cancel_not_allowed" }
  /** `failure` is that of one request of a batch, and `at` is its position: `requests[0]`. */
  | { code: "invalid_batch_request"; at: string; failure: Failure }
  | { code: "webhook_url_without_async" }
  | { code: "stream_in_job" }
  | { code: "invalid_webhook_signature"; problem: WebhookProblem }
  /** `reason` is a clause: "the image is image/png". */
  | { code: "not_acceptable"; reason: string }
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
      /** The limit, for the message; absent if the message is the same for every limit. */
      limit?: number;
    }
  /** Without a time if waiting cannot help. `above` says why, if the request alone is above a limit. */
  | {
      code: "budget_exceeded";
      retryAfterSeconds: number | undefined;
      above?: { variable: string; requestUsd: number; limitUsd: number };
    }
  | { code: "internal_error" };

/** The kind of credential that an Authorization header carries. */
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

export type TurnstileProblem = "unreachable" | "rejected" | "hostname" | "action";

export type WebhookProblem = "missing" | "timestamp" | "mismatch";

/** The limit that was exceeded. The first is the platform's rate limit, and the accounts count the others. */
export type RateLimitReason =
  | "requests"
  | "generations"
  | "concurrency"
  | "reserved"
  | "blocks"
  | "open_jobs";

/** The fault in a client's base URL, derived from a path that matches no route. */
export interface PathHint {
  problem: "base_url" | "double_version" | "extra_slash" | "azure";
  /** The gateway's origin. */
  origin: string;
}

/** The error in an upstream error response, already bounded and cleaned. */
export interface UpstreamError {
  message: string;
  type: string | null;
  param: string | null;
  code: string | null;
}

/** A failure as an exception. `http/error-response.ts` turns it into the response. */
export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.code);
    this.failure = failure;
  }
}

/** Creates the error for a secret that is not set. */
export function secretNotSet(name: string): GatewayError {
  return new GatewayError({ code: "misconfigured", problems: [`${name} is not set`] });
}

/** Returns the failure of a thrown value. An unexpected error becomes `internal_error`, without details. */
export function failureOf(error: unknown): Failure {
  return error instanceof GatewayError ? error.failure : { code: "internal_error" };
}

/** Returns true if a failed upstream call may have been charged. Such a call is not repeated. */
export function mayHaveCharged(failure: Failure): boolean {
  switch (failure.code) {
    case "upstream_failed":
    case "upstream_unreachable":
      return failure.mayHaveCharged;
    case "upstream_invalid_response":
      return failure.mayHaveCharged ?? true;
    case "upstream_timeout":
    case "upstream_outcome_unknown":
      return true;
    default:
      return false;
  }
}
