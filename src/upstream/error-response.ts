import { z } from "zod";
import type { Failure, UpstreamError } from "../errors/failure.ts";
import { retryAfterSeconds } from "../lib/retry-after.ts";

/** An answer of the upstream that is not a success, as far as it was read. */
export interface Refusal {
  status: number;
  retryAfter: string | null;
  /** The body, or its beginning. */
  text: string;
}

/** A failure, and whether the same request may be sent again because nothing was made. */
export interface JudgedRefusal {
  failure: Failure;
  retryable: boolean;
}

/**
 * Cloudflare's own answers in place of an origin that it could not connect to: refused, timed out
 * in the handshake, unreachable, TLS failed, no such name. The request never arrived.
 * 520 and 524 are missing on purpose: there it did.
 */
const NEVER_ARRIVED: ReadonlySet<number> = new Set([521, 522, 523, 525, 526, 530]);

/** Server errors that a generation does not outlive: the upstream made nothing. */
const NOTHING_MADE: ReadonlySet<number> = new Set([500, 502, 503]);

/** Our key or our account is no good: no client can help that, and none shall take it for its own. */
const OUR_ACCOUNT: ReadonlySet<number> = new Set([401, 402, 403]);
const OUR_ACCOUNT_CODES: ReadonlySet<string> = new Set([
  "insufficient_quota",
  "billing_hard_limit_reached",
]);

const MODERATION_CODES: ReadonlySet<string> = new Set([
  "moderation_blocked",
  "content_policy_violation",
]);

const envelope = z.object({
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

/**
 * What a refusal of the upstream is to our client. The status decides; of the text no more than a
 * short clean reason is passed on.
 *
 * @param secrets texts that must not be repeated: the key and the prompt
 * @param nowMs milliseconds since the epoch
 */
export function judge(refusal: Refusal, secrets: readonly string[], nowMs: number): JudgedRefusal {
  const { status } = refusal;
  const { error, details } = errorIn(refusal.text, secrets);
  const code = error.code;

  if (OUR_ACCOUNT.has(status) || (code !== null && OUR_ACCOUNT_CODES.has(code))) {
    return { failure: { code: "upstream_unauthorized" }, retryable: false };
  }
  if (status === 429) {
    const seconds = retryAfterSeconds(refusal.retryAfter, nowMs);
    return {
      failure: { code: "upstream_rate_limited", retryAfterSeconds: seconds },
      retryable: true,
    };
  }
  if (status >= 400 && status < 500) {
    if (code !== null && MODERATION_CODES.has(code)) {
      return { failure: { code: "moderation_blocked", details }, retryable: false };
    }
    return { failure: { code: "upstream_rejected", status, error }, retryable: false };
  }
  if (status < 400) {
    // A redirect: the key must not follow it to another place.
    const reason = `it is a redirect (${status})`;
    return { failure: { code: "upstream_invalid_response", reason }, retryable: false };
  }
  if (NEVER_ARRIVED.has(status)) {
    return { failure: { code: "upstream_unreachable", mayHaveCharged: false }, retryable: true };
  }
  const nothingMade = NOTHING_MADE.has(status);
  return {
    failure: { code: "upstream_failed", status, mayHaveCharged: !nothingMade },
    retryable: nothingMade,
  };
}

const NO_REASON = "The upstream refused this request and gave no reason.";

/** The error in a body: the API's envelope, `{"error": "text"}`, plain text, or a page of HTML. */
function errorIn(
  text: string,
  secrets: readonly string[],
): { error: UpstreamError; details: unknown } {
  const parsed = envelope.safeParse(parseJson(text));
  if (!parsed.success) {
    const message = /^\s*[<{[]/.test(text) ? NO_REASON : cleanReason(text, secrets);
    return { error: { message, type: null, param: null, code: null }, details: undefined };
  }
  const { error } = parsed.data;
  if (typeof error === "string") {
    const message = cleanReason(error, secrets);
    return { error: { message, type: null, param: null, code: null }, details: undefined };
  }
  return {
    error: {
      message: cleanReason(error.message ?? NO_REASON, secrets),
      type: identifier(error.type),
      param: identifier(error.param),
      code: identifier(error.code),
    },
    details: boundedDetails(error.moderation_details, secrets),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const IDENTIFIER = /^[\w.[\]-]{1,64}$/;

/** A type, param or code, if it looks like one. */
function identifier(value: string | number | null | undefined): string | null {
  const text = String(value ?? "");
  return IDENTIFIER.test(text) ? text : null;
}

const DETAILS_MAX_CHARS = 2048;

function boundedDetails(details: unknown, secrets: readonly string[]): unknown {
  if (details === undefined) return undefined;
  const json = JSON.stringify(details);
  return json.length > DETAILS_MAX_CHARS || repeats(json, secrets) ? undefined : details;
}

const REASON_MAX_CHARS = 300;
/** Keys as the providers write them, whole or masked (`sk-…`, `Bearer …`). */
const KEY_LIKE = /\b(?:sk|pk|rk|key)[-_][\w*.-]{3,}[\w*]|\bBearer\s+\S+/gi;

/** A reason in one short line, or none where it repeats a secret. */
function cleanReason(text: string, secrets: readonly string[]): string {
  const line = text
    .replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, " ")
    .trim()
    .slice(0, REASON_MAX_CHARS);
  if (line === "" || repeats(line, secrets)) return NO_REASON;
  return line.replaceAll(KEY_LIKE, "[key]");
}

/** A run of a secret this long counts as a repetition of it. */
const RUN_CHARS = 12;

/** Whether a short text repeats a secret, or a run of one. */
function repeats(text: string, secrets: readonly string[]): boolean {
  return secrets.some((secret) => {
    if (secret.length <= RUN_CHARS) return secret.length > 3 && text.includes(secret);
    for (let start = 0; start + RUN_CHARS <= text.length; start += 1) {
      if (secret.includes(text.slice(start, start + RUN_CHARS))) return true;
    }
    return false;
  });
}
