import type { RateLimitReason, TokenProblem, TurnstileProblem } from "../failure.ts";
import { retryAfterHeaders } from "../../lib/retry-after.ts";
import { DO_NOT_RETRY, orList, retryAfter, type Rows } from "./row.ts";

const UNAUTHORIZED = { status: 401, type: "invalid_request_error" } as const;
const FORBIDDEN = { status: 403, type: "invalid_request_error" } as const;

/** Each completes "The token is not valid: ". */
const TOKEN_PROBLEMS: Record<TokenProblem, string> = {
  scheme: "the Authorization header must be 'Bearer ' followed by one credential",
  mismatch: "it does not match the key of this gateway",
  malformed: "it is malformed",
  algorithm: "its algorithm is not HS256",
  signature: "it was not signed with a secret of this gateway",
  not_yet_valid: "its validity has not started",
  oversized: "it is too long",
  revoked: "it was revoked",
};

/** Each completes "The Turnstile token was rejected: ". */
const TURNSTILE_PROBLEMS: Record<TurnstileProblem, string> = {
  unreachable: "Cloudflare could not verify it. Retry later",
  rejected: "it is not valid or was already used. Create a new one with the widget",
  hostname: "its widget is on a host that ALLOWED_ORIGINS does not list",
  action: "the action of its widget must be 'token'",
};

/** Each is followed by the time after which to retry. */
const RATE_LIMIT_MESSAGES: Record<RateLimitReason, string> = {
  requests: "Too many requests.",
  generations: "Too many new images in a short time.",
  concurrency: "Too many of your images are being generated at once.",
  reserved: "Generations in progress reserve the rest of the budget.",
  blocks: "Moderation has blocked too many of your requests today.",
};

const POLICY = '"requests";q=300;w=60';

/** The errors of tokens, signed URLs, rate limits and budgets. */
export const ACCESS_ROWS = {
  missing_token: {
    ...UNAUTHORIZED,
    message: ({ credential }) =>
      `The Authorization header is missing. Send 'Authorization: Bearer <${credential}>'.`,
    headers: () => ({ "www-authenticate": "Bearer" }),
    causes: [
      {
        example: { code: "missing_token", credential: "token" },
        cause: "The `Authorization` header is missing, and `ACCESS` is `token`.",
        fix: "Send `Authorization: Bearer <token>`. In an SDK, set `apiKey`.",
      },
      {
        example: { code: "missing_token", credential: "admin key" },
        cause: "The `Authorization` header is missing at an operator endpoint.",
        fix: "Send `Authorization: Bearer <admin key>`.",
      },
    ],
  },
  invalid_token: {
    ...UNAUTHORIZED,
    message: ({ credential, problem }) =>
      `The ${credential} is not valid: ${TOKEN_PROBLEMS[problem]}.`,
    headers: () => ({ "www-authenticate": 'Bearer error="invalid_token"' }),
    causes: [
      {
        example: { code: "invalid_token", credential: "token", problem: "signature" },
        cause:
          "The header is not `Bearer` and one token. Or the token is too long, malformed, signed with an algorithm other than HS256 or with another secret, not valid yet, or revoked. The message says which. The same holds for a token in a webhook's URL.",
        fix: "Get a new token from the issuer of this one.",
      },
      {
        example: { code: "invalid_token", credential: "admin key", problem: "mismatch" },
        cause: "The admin key does not match, or the header is not `Bearer` and one key.",
        fix: "Send the value of `ADMIN_KEY`.",
      },
    ],
  },
  token_expired: {
    ...UNAUTHORIZED,
    message: "The token has expired. Get a new one.",
    headers: () => ({ "www-authenticate": 'Bearer error="invalid_token"' }),
    causes: [
      {
        example: { code: "token_expired" },
        cause: "The token has expired.",
        fix: "Get a new token.",
      },
    ],
  },
  origin_not_allowed: {
    ...FORBIDDEN,
    message:
      "This token is valid only on pages of the origins that it was issued for. Use it there, or get a token without 'origins'.",
    causes: [
      {
        example: { code: "origin_not_allowed" },
        cause:
          "The token is restricted to origins, and the request comes from a page of another origin or not from a page.",
        fix: "Use the token on a page of its origins. For programs, get a token without `origins`.",
      },
    ],
  },
  insufficient_scope: {
    ...FORBIDDEN,
    message: ({ scope }) =>
      scope === undefined
        ? "This token is valid only in the URL of a webhook. Use a token without the scope 'webhook'."
        : `This URL requires a token with the scope '${scope}'.`,
    // RFC 6750, 3.1.
    headers: () => ({ "www-authenticate": 'Bearer error="insufficient_scope"' }),
    causes: [
      {
        example: { code: "insufficient_scope", scope: undefined },
        cause: "A token with the scope `webhook` was used outside a webhook's URL.",
        fix: "Use a token without the scope.",
      },
      {
        example: { code: "insufficient_scope", scope: "webhook" },
        cause: "The token in a webhook's URL does not have the scope `webhook`.",
        fix: "Create a token with `--scope webhook`.",
      },
    ],
  },
  model_not_allowed: {
    ...FORBIDDEN,
    message: ({ allowed }) => `This token does not allow this model. Use ${orList(allowed)}.`,
    causes: [
      {
        example: { code: "model_not_allowed", allowed: ["gpt-image-2"] },
        cause: "The token does not allow this model.",
        fix: "Use a model from the list in the message.",
      },
    ],
  },
  turnstile_failed: {
    ...FORBIDDEN,
    message: ({ reason }) => `The Turnstile token was rejected: ${TURNSTILE_PROBLEMS[reason]}.`,
    causes: [
      {
        example: { code: "turnstile_failed", reason: "rejected" },
        cause: "The Turnstile token is not valid or was already used.",
        fix: "Create a new token with the widget, and retry.",
      },
      {
        example: { code: "turnstile_failed", reason: "unreachable" },
        cause: "Cloudflare could not be reached to verify the Turnstile token.",
        fix: "Create a new token with the widget, and retry.",
      },
      {
        example: { code: "turnstile_failed", reason: "hostname" },
        cause: "The widget is on a host that is neither the gateway's nor in `ALLOWED_ORIGINS`.",
        fix: "Operator: add the origin to `ALLOWED_ORIGINS`.",
      },
      {
        example: { code: "turnstile_failed", reason: "action" },
        cause: "The action of the widget is not `token`.",
        fix: 'Operator: give the widget `data-action="token"`.',
      },
    ],
  },
  rate_limit_exceeded: {
    status: 429,
    type: "rate_limit_error",
    message: ({ reason, retryAfterSeconds }) =>
      `${RATE_LIMIT_MESSAGES[reason]} ${retryAfter(retryAfterSeconds)}`,
    headers: ({ reason, retryAfterSeconds, policy }) => ({
      ...retryAfterHeaders(retryAfterSeconds),
      // The current draft's structured fields (draft-ietf-httpapi-ratelimit-headers-10).
      ratelimit: `"${reason}";r=0;t=${retryAfterSeconds}`,
      "ratelimit-policy": policy,
    }),
    causes: [
      {
        example: {
          code: "rate_limit_exceeded",
          reason: "requests",
          retryAfterSeconds: 60,
          policy: POLICY,
        },
        cause:
          "A token, or a network without a token, sent more than 300 image requests, or a network sent more than 300 requests for tokens by Turnstile, per minute (`requests` in the `RateLimit` header).",
        fix: "Wait for `Retry-After` (60 s).",
      },
      {
        example: {
          code: "rate_limit_exceeded",
          reason: "generations",
          retryAfterSeconds: 7,
          policy: POLICY,
        },
        cause:
          "This caller started `GENERATIONS_PER_MINUTE` generations within the last minute (`generations`). Cache hits and requests that join a generation do not count.",
        fix: "Wait for `Retry-After`: the seconds until another one may start.",
      },
      {
        example: {
          code: "rate_limit_exceeded",
          reason: "concurrency",
          retryAfterSeconds: 5,
          policy: POLICY,
        },
        cause:
          "`MAX_CONCURRENT_PER_CALLER` generations of this caller are already in progress (`concurrency`).",
        fix: "Wait for `Retry-After` (5 s) and until one completes. Or submit a job, which waits by itself.",
      },
      {
        example: {
          code: "rate_limit_exceeded",
          reason: "reserved",
          retryAfterSeconds: 5,
          policy: POLICY,
        },
        cause:
          "The budget covers this request, but generations in progress reserve the rest of it (`reserved`). Some of it returns when they complete.",
        fix: "Wait for `Retry-After` (5 s), and retry. Or submit a job, which waits by itself.",
      },
      {
        example: {
          code: "rate_limit_exceeded",
          reason: "blocks",
          retryAfterSeconds: 3600,
          policy: POLICY,
        },
        cause:
          "The upstream's moderation blocked `MAX_BLOCKS_PER_CALLER_PER_DAY` generations of this caller today (`blocks`). The caller is stopped, before the upstream stops the operator's account.",
        fix: "Wait until midnight UTC (`Retry-After`). Cached images are still returned.",
      },
    ],
  },
  budget_exceeded: {
    status: 429,
    type: "insufficient_quota",
    message: ({ retryAfterSeconds, above }) => {
      if (above !== undefined) {
        const { variable, requestUsd, limitUsd } = above;
        return `This request may cost up to ${requestUsd} USD, and the limit is ${limitUsd} USD (${variable}). Request fewer images, or a lower quality or size.`;
      }
      return retryAfterSeconds === undefined
        ? "The rest of this token's budget does not cover this request. Request less, or use another token."
        : "The rest of today's budget does not cover this request. Request less, or retry after midnight UTC.";
    },
    headers: ({ retryAfterSeconds }) => ({
      ...DO_NOT_RETRY,
      ...retryAfterHeaders(retryAfterSeconds),
    }),
    causes: [
      {
        example: { code: "budget_exceeded", retryAfterSeconds: 3600 },
        cause:
          "The rest of today's budget, of the gateway or of this caller, is less than this request may cost.",
        fix: "Wait until midnight UTC (`Retry-After`), or request less. Operator: raise `BUDGET_USD_PER_DAY` or `BUDGET_USD_PER_DAY_PER_CALLER`.",
      },
      {
        example: { code: "budget_exceeded", retryAfterSeconds: undefined },
        cause:
          "The rest of the token's own budget is less than this request may cost. There is no `Retry-After`, because this budget is not renewed.",
        fix: "Request less, or get a new token.",
      },
      {
        example: {
          code: "budget_exceeded",
          retryAfterSeconds: undefined,
          above: { variable: "BUDGET_USD_PER_DAY_PER_CALLER", requestUsd: 2.0005, limitUsd: 1 },
        },
        cause:
          "This request alone may cost more than a caller may spend on a day, than all callers may, or than the token's own budget (`budget_usd`). The message has both sums and the name of the limit. There is no `Retry-After`, because waiting cannot help.",
        fix: "Request fewer images, or a lower quality or size. Operator: raise the variable that the message names.",
      },
    ],
  },
  invalid_signature: {
    ...FORBIDDEN,
    message: "The signature does not match this URL. Get a new signed URL.",
    causes: [
      {
        example: { code: "invalid_signature" },
        cause:
          "The query of a signed URL was changed, repeats a name, or is not signed with a secret of `TOKEN_SECRET`.",
        fix: "Get a new signed URL.",
      },
    ],
  },
  signature_expired: {
    ...FORBIDDEN,
    message: "This signed URL has expired. Get a new one.",
    causes: [
      {
        example: { code: "signature_expired" },
        cause: "The time in `exp` of a signed URL has passed.",
        fix: "Get a new signed URL.",
      },
    ],
  },
} satisfies Partial<Rows>;
