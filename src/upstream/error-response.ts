import * as z from "zod";
import type { Failure, UpstreamError } from "../errors/failure.ts";
import { valueOfJson } from "../lib/json.ts";
import { retryAfterSeconds } from "../lib/retry-after.ts";

/** An upstream response whose status is not a success. */
export interface UpstreamErrorResponse {
  status: number;
  retryAfter: string | null;
  /** The body, or its beginning. */
  text: string;
}

/** The failure for an upstream error response, and whether a retry is safe. */
export interface ClassifiedError {
  failure: Failure;
  /** True if nothing was generated, so that the same request may be sent again. */
  retryable: boolean;
}

/**
 * Cloudflare's statuses for an origin that it could not connect to: refused, unreachable, TLS failed, no
 * such name. The request did not arrive. With 520 and 524 it did, and with 522 it may have: the connection
 * timed out, before or after the request was sent.
 * https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
 */
const NOT_DELIVERED: ReadonlySet<number> = new Set([521, 523, 525, 526, 530]);
const CONNECTION_TIMED_OUT = 522;

/** Server errors after which no image exists. */
const NOTHING_GENERATED: ReadonlySet<number> = new Set([500, 502, 503]);

/**
 * Errors of the gateway's own key or account. A client cannot fix them and must not mistake them
 * for an error of its own credentials.
 */
export const ACCOUNT_STATUSES: ReadonlySet<number> = new Set([401, 402, 403]);
const ACCOUNT_CODES: ReadonlySet<string> = new Set([
  "insufficient_quota",
  "billing_hard_limit_reached",
]);

const MODERATION_CODES: ReadonlySet<string> = new Set([
  "moderation_blocked",
  "content_policy_violation",
  "content_filter",
]);

const errorBodySchema = z.object({
  error: z.union([
    z.string(),
    z.object({
      message: z.string().nullish(),
      type: z.string().nullish(),
      param: z.string().nullish(),
      code: z.union([z.string(), z.number()]).nullish(),
      moderation_details: z.unknown().optional(),
    }),
  ]),
});

/** The texts of a request that decide what of an error is passed on, and to whom. */
export interface SentTexts {
  /** Texts that no message may contain: the key and the prompt. */
  secrets: readonly string[];
  /** The identifiers of the end user. An error that contains one is about the sender. */
  identifiers: readonly string[];
}

/**
 * Maps an upstream error response to the failure that the client receives. The status decides.
 * Of the body, only a short cleaned message is passed on.
 *
 * @param nowMs milliseconds since the epoch
 */
export function classifyErrorResponse(
  response: UpstreamErrorResponse,
  { secrets, identifiers }: SentTexts,
  nowMs: number,
): ClassifiedError {
  const { status } = response;
  const { error, details } = parseErrorBody(response.text, secrets);
  const { code } = error;

  if (ACCOUNT_STATUSES.has(status) || (code !== null && ACCOUNT_CODES.has(code))) {
    return { failure: { code: "upstream_unauthorized" }, retryable: false };
  }
  if (status === 429) {
    const seconds = retryAfterSeconds(response.retryAfter, nowMs);
    return {
      failure: { code: "upstream_rate_limited", retryAfterSeconds: seconds },
      retryable: true,
    };
  }
  if (status >= 400 && status < 500) {
    if (code !== null && MODERATION_CODES.has(code)) {
      return { failure: { code: "moderation_blocked", details }, retryable: false };
    }
    const isAboutSender = error.param === "user" || namesIdentifier(response.text, identifiers);
    return {
      failure: { code: "upstream_rejected", status, error, isAboutSender },
      retryable: false,
    };
  }
  if (status < 400) {
    // A redirect is not followed, because it would send the key to another host.
    const reason = `it is a redirect (${status})`;
    return { failure: { code: "upstream_invalid_response", reason }, retryable: false };
  }
  if (NOT_DELIVERED.has(status)) {
    return { failure: { code: "upstream_unreachable", mayHaveCharged: false }, retryable: true };
  }
  if (status === CONNECTION_TIMED_OUT) {
    return { failure: { code: "upstream_unreachable", mayHaveCharged: true }, retryable: false };
  }
  const nothingGenerated = NOTHING_GENERATED.has(status);
  return {
    failure: { code: "upstream_failed", status, mayHaveCharged: !nothingGenerated },
    retryable: nothingGenerated,
  };
}

const NO_REASON = "The upstream rejected this request and gave no reason.";

/** Parses an error body: OpenAI's error object, `{"error": "text"}`, plain text, or HTML. */
function parseErrorBody(
  text: string,
  secrets: readonly string[],
): { error: UpstreamError; details: unknown } {
  const parsed = errorBodySchema.safeParse(valueOfJson(text));
  if (!parsed.success) {
    const message = /^\s*[<{[]/.test(text) ? NO_REASON : cleanMessage(text, secrets);
    return { error: { message, type: null, param: null, code: null }, details: undefined };
  }
  const { error } = parsed.data;
  if (typeof error === "string") {
    const message = cleanMessage(error, secrets);
    return { error: { message, type: null, param: null, code: null }, details: undefined };
  }
  return {
    error: {
      message: cleanMessage(error.message ?? NO_REASON, secrets),
      type: identifier(error.type),
      param: identifier(error.param),
      code: identifier(error.code),
    },
    details: boundedDetails(error.moderation_details, secrets),
  };
}

const IDENTIFIER = /^[\w.[\]-]{1,64}$/;

/** Returns a type, param or code if it has the form of one, otherwise `null`. */
function identifier(value: string | number | null | undefined): string | null {
  if (value === null || value === undefined) return null;
  const text = String(value);
  return IDENTIFIER.test(text) ? text : null;
}

const DETAILS_MAX_CHARS = 2048;

/** Returns the moderation details unless they are too long or contain a secret. */
function boundedDetails(details: unknown, secrets: readonly string[]): unknown {
  if (details === undefined) return undefined;
  const json = JSON.stringify(details);
  return json.length > DETAILS_MAX_CHARS || containsSecret(json, secrets) ? undefined : details;
}

const MESSAGE_MAX_CHARS = 300;
/** API keys in the providers' forms, complete or masked (`sk-…`, `Bearer …`). */
const KEY_LIKE = /\b(?:sk|pk|rk|key)[-_][\w*.-]{3,}[\w*]|\bBearer\s+\S+/gi;

/** Returns the text as one short line, or `NO_REASON` if it is empty or contains a secret. */
function cleanMessage(text: string, secrets: readonly string[]): string {
  const line = text
    .replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, " ")
    .trim()
    .slice(0, MESSAGE_MAX_CHARS);
  if (line === "" || containsSecret(line, secrets)) return NO_REASON;
  return line.replaceAll(KEY_LIKE, "[key]");
}

/** Returns true if an error names the parameter `safety_identifier`, an identifier, or the value of one. */
function namesIdentifier(text: string, identifiers: readonly string[]): boolean {
  const words = text.split(/\W+/);
  return (
    /identifier/i.test(text) ||
    identifiers.some((each) => (/^\w+$/.test(each) ? words.includes(each) : text.includes(each)))
  );
}

/** The length from which a part of a secret counts as the secret. */
const PART_CHARS = 12;

/** Returns true if a short text contains a secret or a part of one. */
function containsSecret(text: string, secrets: readonly string[]): boolean {
  return secrets.some((secret) => {
    if (secret.length <= PART_CHARS) return secret.length > 3 && text.includes(secret);
    for (let start = 0; start + PART_CHARS <= text.length; start += 1) {
      if (secret.includes(text.slice(start, start + PART_CHARS))) return true;
    }
    return false;
  });
}
