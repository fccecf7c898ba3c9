import type { TokenProblem, TurnstileProblem } from "../failure.ts";
import { orList, type Rows } from "./row.ts";

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

/** The errors of tokens and signed URLs. */
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
        section: "jobs",
        example: { code: "invalid_token", credential: "token", problem: "revoked" },
        cause: "The token of the job was revoked before the job started a generation.",
        fix: "Submit the job again with a new token.",
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
