import { mayHaveCharged, type Failure, type UpstreamError } from "../failure.ts";
import { retryAfterHeaders } from "../../lib/retry-after.ts";
import { DO_NOT_RETRY, retryAfter, type Rows } from "./row.ts";

const UPSTREAM_ERROR = { status: 502, type: "upstream_error", headers: afterFailure } as const;

/** Stops the retries of SDKs if the failed attempt may have been charged. */
function afterFailure(failure: Failure): Record<string, string> {
  return mayHaveCharged(failure) ? DO_NOT_RETRY : {};
}

const MAY_COST_AGAIN = "The image may have been charged, and a retry may be charged again.";

function advice(failure: Failure): string {
  return mayHaveCharged(failure) ? MAY_COST_AGAIN : "Retry later.";
}

const RETRY_IF_WORTH_IT = "Retry if a second charge is acceptable.";

const FORWARDED: UpstreamError = {
  message: "The upstream's own message.",
  type: "invalid_request_error",
  param: null,
  code: "as_upstream",
};

/** The errors of the upstream. */
export const UPSTREAM_ROWS = {
  moderation_blocked: {
    status: 400,
    type: "image_generation_user_error",
    message: "The upstream's safety system blocked this request. Change the prompt.",
    details: ({ details }) => details,
    causes: [
      {
        example: { code: "moderation_blocked", details: undefined },
        cause:
          "The upstream's safety system blocked the prompt. `error.moderation_details` is the upstream's, if it sent any. The block is cached for `REFUSAL_TTL_SECONDS`.",
        fix: "Change the prompt.",
      },
    ],
  },
  upstream_rejected: {
    wire: ({ status, error }) => ({
      status,
      headers: {},
      body: { error: { ...error, type: error.type ?? "invalid_request_error" } },
    }),
    causes: [
      {
        example: {
          code: "upstream_rejected",
          status: 400,
          error: FORWARDED,
        },
        shownCode: "the upstream's own, or `null`",
        shownStatus: "its own, 400 to 499",
        cause:
          "The upstream rejected the request for another reason. Its status, type, param and code are forwarded. Its message is shortened and cleaned. In the `generation` line of the log, this is `upstream_rejected`.",
        fix: "Follow the message.",
      },
      {
        example: {
          code: "upstream_rejected",
          status: 409,
          error: FORWARDED,
        },
        shownCode: "the upstream's own, or `null`",
        shownStatus: "408 or 409",
        cause: "The same, with a status that SDKs retry.",
        fix: "Follow the message.",
      },
    ],
  },
  upstream_unauthorized: {
    ...UPSTREAM_ERROR,
    message:
      "The upstream does not accept this gateway's key or account. Contact the operator of this gateway.",
    causes: [
      {
        example: { code: "upstream_unauthorized" },
        cause:
          "The upstream does not accept the gateway's key or account: it responds 401, 402 or 403, or the account has no funds.",
        fix: "Contact the operator. A retry does not help. Operator: see [below](#for-the-operator).",
      },
    ],
  },
  upstream_rate_limited: {
    status: 429,
    type: "rate_limit_error",
    message: ({ retryAfterSeconds }) =>
      `The upstream is receiving too many requests. ${
        retryAfterSeconds === undefined ? "Retry later." : retryAfter(retryAfterSeconds)
      }`,
    headers: ({ retryAfterSeconds }) => retryAfterHeaders(retryAfterSeconds),
    causes: [
      {
        example: { code: "upstream_rate_limited", retryAfterSeconds: 20 },
        cause:
          "The upstream still has too many requests after all attempts of the gateway, or it requires a wait of more than 20 s.",
        fix: "Wait for `Retry-After`: at most a day, present only if the upstream sent one.",
      },
    ],
  },
  upstream_failed: {
    ...UPSTREAM_ERROR,
    message: (failure) =>
      failure.status === undefined
        ? `The upstream failed during streaming. ${advice(failure)}`
        : `The upstream failed with status ${failure.status}. ${advice(failure)}`,
    causes: [
      {
        example: { code: "upstream_failed", status: 503, mayHaveCharged: false },
        cause:
          "The upstream responded 500, 502 or 503 to all attempts of the gateway. No image was generated.",
        fix: "Retry later.",
      },
      {
        example: { code: "upstream_failed", status: undefined, mayHaveCharged: true },
        cause: "The upstream responded with another 5xx status, or failed during streaming.",
        fix: RETRY_IF_WORTH_IT,
      },
    ],
  },
  upstream_unreachable: {
    ...UPSTREAM_ERROR,
    message: (failure) =>
      failure.mayHaveCharged
        ? `The connection to the upstream was lost before it responded. ${MAY_COST_AGAIN}`
        : "The upstream cannot be reached. Retry later.",
    causes: [
      {
        example: { code: "upstream_unreachable", mayHaveCharged: true },
        cause:
          "The connection was refused, timed out (522), or was lost before the upstream responded. The gateway cannot tell whether the request arrived.",
        fix: RETRY_IF_WORTH_IT,
      },
      {
        example: { code: "upstream_unreachable", mayHaveCharged: false },
        cause:
          "Cloudflare could not connect to the upstream (521, 523, 525, 526, 530). No image was generated.",
        fix: "Retry later. Operator: check `UPSTREAM_BASE_URL`.",
      },
    ],
  },
  upstream_invalid_response: {
    ...UPSTREAM_ERROR,
    message: (failure) =>
      `The upstream's response cannot be used: ${failure.reason}. ${
        mayHaveCharged(failure) ? MAY_COST_AGAIN : "No image was generated. Change the prompt."
      }`,
    // A model that declines a prompt does so again.
    headers: () => DO_NOT_RETRY,
    causes: [
      {
        example: { code: "upstream_invalid_response", reason: "it contains no image" },
        cause:
          "The upstream's response is cut off, too large, a redirect, not JSON, or without a usable image. The message says which.",
        fix: `${RETRY_IF_WORTH_IT} If it persists, contact the operator.`,
      },
      {
        example: {
          code: "upstream_invalid_response",
          reason: "it is text without an image",
          mayHaveCharged: false,
        },
        cause:
          "A chat model responded in words. No image was generated, and nothing is charged. It is not cached.",
        fix: "Change the prompt.",
      },
    ],
  },
  upstream_timeout: {
    ...UPSTREAM_ERROR,
    status: 504,
    message: ({ timeoutSeconds }) =>
      `The upstream did not respond within ${timeoutSeconds} seconds. ${MAY_COST_AGAIN}`,
    causes: [
      {
        example: { code: "upstream_timeout", timeoutSeconds: 300 },
        cause:
          "The upstream sent no complete response within `UPSTREAM_TIMEOUT_SECONDS`, including retries.",
        fix: `Lower \`quality\`, \`size\` or \`n\`. ${RETRY_IF_WORTH_IT} Operator: raise \`UPSTREAM_TIMEOUT_SECONDS\`.`,
      },
    ],
  },
  upstream_outcome_unknown: {
    ...UPSTREAM_ERROR,
    message: `This gateway was interrupted during the upstream call. ${MAY_COST_AGAIN}`,
    causes: [
      {
        example: { code: "upstream_outcome_unknown" },
        cause:
          "The gateway was interrupted during the upstream call, for example by a deployment. It never repeats such a call by itself.",
        fix: RETRY_IF_WORTH_IT,
      },
    ],
  },
} satisfies Partial<Rows>;
