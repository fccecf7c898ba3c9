import { retryAfterHeaders } from "../../lib/retry-after.ts";
import type { WebhookProblem } from "../failure.ts";
import { DO_NOT_RETRY, NOT_FOUND, type Rows } from "./row.ts";

const INVALID = { status: 400, type: "invalid_request_error" } as const;

/** Each completes "This webhook is not valid: ". */
const WEBHOOK_PROBLEMS: Record<WebhookProblem, string> = {
  missing: "it requires the headers webhook-id, webhook-timestamp and webhook-signature",
  timestamp:
    "webhook-timestamp must be a Unix time in seconds, within five minutes of the current time",
  mismatch: "webhook-signature does not match webhook-id, webhook-timestamp and the body",
};

/** The errors of jobs, batches and webhooks. */
export const JOB_ROWS = {
  invalid_batch_request: {
    wire: ({ at, failure }, toWire) => {
      const inner = toWire(failure);
      const { error } = inner.body;
      const param = error.param === null ? at : `${at}.${error.param}`;
      return { ...inner, body: { error: { ...error, param, message: `${at}: ${error.message}` } } };
    },
    causes: [
      {
        example: {
          code: "invalid_batch_request",
          at: "requests[1].body",
          failure: { code: "empty_string", param: "prompt" },
        },
        shownCode: "any code of this page",
        shownStatus: "its own",
        cause:
          "One request of a batch is not valid, or its token does not allow it. `param` and the message begin with its position, such as `requests[1].body.size`. No request of the batch was started.",
        fix: "Correct that request, and send the batch again.",
      },
    ],
  },
  webhook_url_without_async: {
    ...INVALID,
    code: "unsupported_parameter",
    param: "webhook_url",
    message: "'webhook_url' requires the header 'Prefer: respond-async'.",
    causes: [
      {
        example: { code: "webhook_url_without_async" },
        cause: "The request has `webhook_url`, but not `Prefer: respond-async`.",
        fix: "Send the header, or omit `webhook_url`.",
      },
    ],
  },
  stream_in_job: {
    ...INVALID,
    code: "unsupported_parameter",
    param: "stream",
    message: "Jobs, batches and webhooks cannot stream. Set 'stream' to false.",
    causes: [
      {
        example: { code: "stream_in_job" },
        cause: "`stream` is true in a job, a batch or a webhook.",
        fix: "Omit `stream`.",
      },
    ],
  },
  invalid_webhook_signature: {
    status: 401,
    type: "invalid_request_error",
    code: "invalid_signature",
    message: ({ problem }) => `This webhook is not valid: ${WEBHOOK_PROBLEMS[problem]}.`,
    headers: () => ({ "www-authenticate": "StandardWebhooks" }),
    causes: [
      {
        example: { code: "invalid_webhook_signature", problem: "mismatch" },
        cause:
          "The id, the time and the body of a webhook are not signed with a secret of `WEBHOOK_SECRET`. Or `webhook-id` is longer than 255 characters.",
        fix: "Sign each attempt again, over the exact bytes of the body. Shorten the id.",
      },
      {
        example: { code: "invalid_webhook_signature", problem: "missing" },
        cause:
          "A webhook does not have all of `webhook-id`, `webhook-timestamp` and `webhook-signature`.",
        fix: "Send all three headers.",
      },
      {
        example: { code: "invalid_webhook_signature", problem: "timestamp" },
        cause:
          "`webhook-timestamp` is not a Unix time in seconds, or it differs from the current time by more than five minutes.",
        fix: "Set the clock. Sign each attempt again.",
      },
    ],
  },
  idempotency_key_busy: {
    status: 409,
    type: "invalid_request_error",
    code: "generation_in_progress",
    message: "Other requests with this Idempotency-Key start at the same time. Retry.",
    headers: () => retryAfterHeaders(1),
    causes: [
      {
        example: { code: "idempotency_key_busy" },
        cause:
          "Other requests with the same `Idempotency-Key` started generations at the same time, and none of them succeeded.",
        fix: "Wait for `Retry-After` (1 s), and retry.",
      },
    ],
  },
  generation_not_found: {
    ...NOT_FOUND,
    message:
      "No generation or job has this id, or it has expired. Send its request again to generate the image.",
    causes: [
      {
        section: "images",
        example: { code: "generation_not_found" },
        cause:
          "The generation does not exist or has expired. Or it was deleted or replaced while it was read.",
        fix: "POST the request again.",
      },
      {
        example: { code: "generation_not_found" },
        cause: "The job does not exist, or it was submitted more than a week ago.",
        fix: "Submit the job again.",
      },
    ],
  },
  batch_not_found: {
    ...NOT_FOUND,
    message: "This batch does not exist or has expired. Submit the batch again.",
    causes: [
      {
        example: { code: "batch_not_found" },
        cause: "The batch does not exist, or it was submitted more than a week ago.",
        fix: "Submit the batch again.",
      },
    ],
  },
  cancelled: {
    status: 409,
    type: "invalid_request_error",
    message:
      "This job was cancelled before its generation started. Submit it again if you need it.",
    headers: () => DO_NOT_RETRY,
    causes: [
      {
        example: { code: "cancelled" },
        cause: "The job was cancelled with a DELETE before its generation started.",
        fix: "Submit the job again if you need it.",
      },
    ],
  },
  cancel_not_allowed: {
    status: 403,
    type: "invalid_request_error",
    message:
      "This token cannot cancel this job. Send the token that submitted it, another token of the same subject, or the admin key.",
    causes: [
      {
        example: { code: "cancel_not_allowed" },
        cause:
          "A job or batch can be cancelled with the admin key, with the token that submitted it, or with a token of the same subject. For visitors with a Turnstile token it must be the same token. Without a token, and for signed webhooks, only the admin key can cancel.",
        fix: "Send one of these credentials.",
      },
    ],
  },
} satisfies Partial<Rows>;
