import {
  mayHaveCharged,
  type Failure,
  type PathHint,
  type RateLimitReason,
  type TokenProblem,
  type TurnstileProblem,
  type WebhookProblem,
} from "./failure.ts";

export type ErrorType =
  | "invalid_request_error"
  | "image_generation_user_error"
  | "rate_limit_error"
  | "insufficient_quota"
  | "server_error"
  | "upstream_error";

/** An error's form on the wire. */
export interface WireError {
  status: number;
  headers: Record<string, string>;
  body: {
    error: {
      message: string;
      type: string;
      param: string | null;
      code: string | null;
      moderation_details?: unknown;
    };
  };
}

/** Asking again may cost a second time, or cannot help: SDKs must not retry by themselves. */
const DO_NOT_RETRY = { "x-should-retry": "false" };

const SEE_MODELS = "GET /v1/models lists those that are";

/** The one translation of a failure to the wire. */
export function toWire(failure: Failure): WireError {
  switch (failure.code) {
    case "invalid_json":
      return invalid(failure, JSON_PROBLEMS[failure.problem]);
    case "unsupported_media_type":
      return invalid(
        failure,
        "The body must be JSON, sent with the header 'Content-Type: application/json'.",
        { status: 415 },
      );
    case "request_too_large":
      return invalid(
        failure,
        `The body is larger than the ${failure.limitBytes} bytes that are accepted.`,
        { status: 413 },
      );
    case "missing_required_parameter":
      return invalid(failure, `'${failure.param}' is required.`);
    case "invalid_type":
      return invalid(
        failure,
        `'${failure.param}' must be ${failure.expected}, and it is ${failure.received}.`,
      );
    case "invalid_value":
      return invalid(failure, `'${failure.param}' must be one of ${failure.allowed.join(", ")}.`);
    case "malformed_value":
      return invalid(
        { code: "invalid_value", param: failure.param },
        `'${failure.param}' ${failure.problem}.`,
      );
    case "empty_string":
      return invalid(failure, `'${failure.param}' must not be empty.`);
    case "string_above_max_length":
      return invalid(
        failure,
        `'${failure.param}' may have at most ${failure.maxChars} characters, and it has ${failure.chars}.`,
      );
    case "integer_below_min_value":
      return invalid(failure, `'${failure.param}' must be at least ${failure.min}.`);
    case "integer_above_max_value":
      return invalid(failure, `'${failure.param}' must be at most ${failure.max}.`);
    case "unknown_parameter": {
      const param = shortened(failure.param);
      const owner =
        failure.model === undefined ? "this endpoint" : `the model '${shortened(failure.model)}'`;
      return invalid({ code: failure.code, param }, `'${param}' is not a parameter of ${owner}.`);
    }
    case "model_not_served":
      return userError(
        { code: "invalid_value", param: "model" },
        `The model '${shortened(failure.model)}' is not served here. ${SEE_MODELS}.`,
      );
    case "model_retired":
      return userError(
        { code: "invalid_value", param: "model" },
        `OpenAI shut down the model '${shortened(failure.model)}' on ${failure.shutdown}. Use '${failure.successor}', or another model of GET /v1/models.`,
      );
    case "size_not_allowed":
      return userError(
        { code: "invalid_value", param: "size" },
        `This size is not supported by '${shortened(failure.model)}': ${failure.reason}.`,
      );
    case "stream_with_many_images":
      return userError(
        { code: "unsupported_parameter", param: "n" },
        "Streaming is possible only with n = 1.",
      );
    case "invalid_png_output_compression":
      return userError(
        { code: failure.code, param: "output_compression" },
        "PNG is lossless: an 'output_compression' below 100 needs 'output_format' jpeg or webp.",
      );
    case "transparent_without_alpha":
      return userError(
        { code: "invalid_value", param: "background" },
        `A transparent background needs 'output_format' png or webp: ${failure.format} has no alpha channel.`,
      );
    case "not_found":
      return invalid(failure, notFoundMessage(failure.hint), { status: 404 });
    case "endpoint_retired":
      return invalid(
        failure,
        "OpenAI retired image variations together with dall-e-2. Use /v1/images/edits.",
        { status: 410 },
      );
    case "model_not_found":
      return invalid(
        { code: failure.code, param: "model" },
        `This model is not served here. ${SEE_MODELS}.`,
        { status: 404 },
      );
    case "image_not_found":
      return invalid(failure, "There is no such image, or it is no longer kept.", { status: 404 });
    case "range_not_satisfiable":
      return invalid(
        failure,
        `The image has ${failure.sizeBytes} bytes, and the range asked for has none of them.`,
        { status: 416, headers: { "content-range": `bytes */${failure.sizeBytes}` } },
      );
    case "method_not_allowed": {
      const allow = failure.allow.join(", ");
      return invalid(failure, `This URL takes ${allow}.`, { status: 405, headers: { allow } });
    }
    case "not_cached":
      return invalid(
        failure,
        "This picture has not been made, and the request said only-if-cached.",
        { status: 504, headers: DO_NOT_RETRY },
      );
    case "misconfigured":
      return wire(
        500,
        "server_error",
        failure,
        `This gateway is not configured: ${failure.problems.join("; ")}.`,
      );
    case "moderation_blocked": {
      const blocked = userError(failure, "The upstream's safety system refused this prompt.");
      if (failure.details !== undefined) blocked.body.error.moderation_details = failure.details;
      return blocked;
    }
    case "upstream_rejected": {
      const { error, status } = failure;
      const type = error.type ?? "invalid_request_error";
      return { status, headers: {}, body: { error: { ...error, type } } };
    }
    case "upstream_unauthorized":
      return upstream(
        failure,
        "The upstream does not accept this gateway's key or account. Its owner has to see to it.",
      );
    case "upstream_rate_limited": {
      const message = "The upstream is receiving too many requests. Try again later.";
      const seconds = failure.retryAfterSeconds;
      const headers = seconds === undefined ? {} : { "retry-after": String(seconds) };
      return wire(429, "rate_limit_error", failure, message, headers);
    }
    case "upstream_failed":
      return upstream(
        failure,
        failure.status === undefined
          ? "The upstream failed while it was streaming."
          : `The upstream failed with status ${failure.status}.`,
      );
    case "upstream_unreachable":
      return failure.mayHaveCharged
        ? upstream(failure, "The connection to the upstream was lost before it answered.")
        : upstream(failure, "The upstream cannot be reached.");
    case "upstream_invalid_response":
      return upstream(failure, `The upstream's answer cannot be used: ${failure.reason}.`);
    case "upstream_timeout":
      return upstream(
        failure,
        `The upstream did not answer within ${failure.timeoutSeconds} seconds.`,
        504,
      );
    case "upstream_outcome_unknown":
      return upstream(
        failure,
        "This gateway was interrupted while the upstream was at work. The picture may have been paid for.",
      );
    case "idempotency_key_reused":
      return invalid(failure, "This Idempotency-Key was used for another request.", {
        status: 422,
      });
    case "generation_not_found":
      return invalid(failure, "There is no such generation, or it is no longer kept.", {
        status: 404,
      });
    case "batch_not_found":
      return invalid(failure, "There is no such batch, or it is no longer kept.", { status: 404 });
    case "invalid_batch_request": {
      const { at } = failure;
      const inner = toWire(failure.failure);
      const { error } = inner.body;
      const param = error.param === null ? at : `${at}.${error.param}`;
      return { ...inner, body: { error: { ...error, param, message: `${at}: ${error.message}` } } };
    }
    case "webhook_url_without_async":
      return invalid(
        { code: "unsupported_parameter", param: "webhook_url" },
        "'webhook_url' needs the header 'Prefer: respond-async': who waits is not called back.",
      );
    case "stream_in_job":
      return invalid(
        { code: "unsupported_parameter", param: "stream" },
        "'stream' must be false where nobody waits for the picture.",
      );
    case "invalid_webhook_signature":
      return invalid(
        { code: "invalid_signature" },
        `This webhook cannot be accepted: ${WEBHOOK_PROBLEMS[failure.problem]}.`,
        { status: 401, headers: { "www-authenticate": "StandardWebhooks" } },
      );
    case "not_acceptable":
      return invalid(
        failure,
        `The Accept header does not take what this request makes: ${failure.reason}.`,
        { status: 406, headers: failure.mayHaveCharged ? DO_NOT_RETRY : {} },
      );
    case "invalid_signature":
      return invalid(failure, "The signature does not belong to this address.", { status: 403 });
    case "signature_expired":
      return invalid(failure, "This address has expired.", { status: 403 });
    case "missing_token":
      return unauthorized(
        failure,
        `This needs the header 'Authorization: Bearer <${failure.credential}>'.`,
        "Bearer",
      );
    case "invalid_token":
      return unauthorized(
        failure,
        `The ${failure.credential} is not valid: ${TOKEN_PROBLEMS[failure.problem]}.`,
        'Bearer error="invalid_token"',
      );
    case "token_expired":
      return unauthorized(failure, "The token has expired.", 'Bearer error="invalid_token"');
    case "origin_not_allowed":
      return invalid(failure, "The token is not for pages of this origin.", { status: 403 });
    case "insufficient_scope":
      return invalid(
        failure,
        failure.scope === undefined
          ? "The token is only for webhooks."
          : `The token needs the scope '${failure.scope}'.`,
        {
          status: 403,
          // RFC 6750, 3.1.
          headers: { "www-authenticate": 'Bearer error="insufficient_scope"' },
        },
      );
    case "model_not_allowed": {
      const message = `The token is only for the models ${failure.allowed.join(", ")}.`;
      return invalid(failure, message, { status: 403 });
    }
    case "turnstile_failed":
      return invalid(
        failure,
        `The Turnstile token cannot be accepted: ${TURNSTILE_PROBLEMS[failure.reason]}.`,
        { status: 403 },
      );
    case "rate_limit_exceeded": {
      const { reason, retryAfterSeconds } = failure;
      const headers = {
        "retry-after": String(retryAfterSeconds),
        // The current draft's structured fields (draft-ietf-httpapi-ratelimit-headers-10).
        ratelimit: `"${reason}";r=0;t=${retryAfterSeconds}`,
        "ratelimit-policy": failure.policy,
      };
      return wire(429, "rate_limit_error", failure, RATE_LIMIT_MESSAGES[reason], headers);
    }
    case "budget_exceeded": {
      const seconds = failure.retryAfterSeconds;
      return wire(
        429,
        "insufficient_quota",
        failure,
        seconds === undefined
          ? "What is left of this token's budget is not enough for this request."
          : "What is left of today's budget is not enough for this request. A new day begins at midnight UTC.",
        {
          ...DO_NOT_RETRY,
          ...(seconds === undefined ? {} : { "retry-after": String(seconds) }),
        },
      );
    }
    case "internal_error":
      return wire(
        500,
        "server_error",
        failure,
        "Something went wrong in this gateway. The x-request-id header names this request.",
      );
  }
}

function notFoundMessage(hint: PathHint | undefined): string {
  const nothing = "There is nothing at this URL.";
  if (hint === undefined) return nothing;
  const { problem, origin } = hint;
  const set = `Set the base URL of the client to '${origin}/v1'`;
  switch (problem) {
    case "base_url":
      return `${nothing} ${set}.`;
    case "double_version":
      return `${nothing} The path has '/v1' twice. ${set}, or to '${origin}' if the client adds '/v1' itself.`;
    case "extra_slash":
      return `${nothing} The path has an extra '/'. ${set}, without '/' at its end.`;
    case "azure":
      return `${nothing} The path is Azure's. Use a client for the OpenAI API, not for Azure. ${set}.`;
  }
}

const JSON_PROBLEMS = {
  malformed: "The body is not valid JSON.",
  not_an_object: "The body must be a JSON object.",
  too_deep: "The body is nested more deeply than any request is.",
};

const TOKEN_PROBLEMS: Record<TokenProblem, string> = {
  scheme: "the Authorization header must be 'Bearer ' and one word",
  mismatch: "it is not this gateway's",
  malformed: "it is malformed",
  algorithm: "its algorithm is not HS256",
  signature: "its signature is not this gateway's",
  not_yet_valid: "it is not valid yet",
  oversized: "it is too long",
  revoked: "it was revoked",
};

const WEBHOOK_PROBLEMS: Record<WebhookProblem, string> = {
  missing: "it needs the headers webhook-id, webhook-timestamp and webhook-signature",
  timestamp: "its webhook-timestamp is not within five minutes of now",
  mismatch: "its signature does not belong to it",
};

const TURNSTILE_PROBLEMS: Record<TurnstileProblem, string> = {
  unreachable: "it cannot be verified now",
  refused: "it is not valid, or was used before",
  hostname: "its widget is on a page that ALLOWED_ORIGINS does not name",
  action: "its widget is for another purpose",
};

const RATE_LIMIT_MESSAGES: Record<RateLimitReason, string> = {
  requests: "Too many requests. Try again later.",
  generations: "Too many new pictures in a short time. Try again later.",
  concurrency: "Too many of your pictures are being made at once. Try again when one is done.",
};

/** The code and the parameter on the wire; most failures are named just as there. */
interface Named {
  code: string;
  param?: string;
}

function invalid(
  named: Named,
  message: string,
  { status = 400, headers = {} }: { status?: number; headers?: Record<string, string> } = {},
): WireError {
  return wire(status, "invalid_request_error", named, message, headers);
}

function unauthorized(named: Named, message: string, challenge: string): WireError {
  return invalid(named, message, { status: 401, headers: { "www-authenticate": challenge } });
}

function userError(named: Named, message: string): WireError {
  return wire(400, "image_generation_user_error", named, message);
}

function upstream(failure: Failure, message: string, status = 502): WireError {
  const headers = mayHaveCharged(failure) ? DO_NOT_RETRY : {};
  return wire(status, "upstream_error", { code: failure.code }, message, headers);
}

function wire(
  status: number,
  type: ErrorType,
  { code, param }: Named,
  message: string,
  headers: Record<string, string> = {},
): WireError {
  return { status, headers, body: { error: { message, type, param: param ?? null, code } } };
}

/** Names that a client chose are repeated only so far. */
const NAME_MAX_CHARS = 64;

function shortened(name: string): string {
  return name.length <= NAME_MAX_CHARS ? name : `${name.slice(0, NAME_MAX_CHARS)}…`;
}
