import type { RateLimitReason } from "../failure.ts";
import { retryAfterHeaders } from "../../lib/retry-after.ts";
import { DO_NOT_RETRY, retryAfter, type Rows } from "./row.ts";

/** Each is followed by the time after which to retry. */
const RATE_LIMIT_MESSAGES: Record<RateLimitReason, string> = {
  requests: "Too many requests.",
  generations: "Too many new images in a short time.",
  concurrency: "Too many of your images are being generated at once.",
  reserved: "Generations in progress reserve the rest of the budget.",
  blocks: "Moderation has blocked too many of your requests today.",
  open_jobs: "Too many of your jobs have not ended.",
};

const POLICY = '"requests";q=300;w=60';

/** The errors of rate limits and budgets. */
export const LIMIT_ROWS = {
  rate_limit_exceeded: {
    status: 429,
    type: "rate_limit_error",
    message: ({ reason, limit, retryAfterSeconds }) => {
      const atMost = limit === undefined ? "" : ` The limit is ${limit}.`;
      return `${RATE_LIMIT_MESSAGES[reason]}${atMost} ${retryAfter(retryAfterSeconds)}`;
    },
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
          "A token, or a network without a token, sent more than 300 requests per minute (`requests` in the `RateLimit` header). Or a network sent more than 300 requests for image URLs, for Turnstile tokens, or with wrong admin keys, per minute.",
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
      {
        example: {
          code: "rate_limit_exceeded",
          reason: "open_jobs",
          retryAfterSeconds: 60,
          policy: POLICY,
          limit: 100,
        },
        cause:
          "With this job or batch, more than `MAX_OPEN_JOBS_PER_CALLER` jobs of this caller would be queued or in progress (`open_jobs`). None of its jobs was submitted.",
        fix: "Wait for `Retry-After` (60 s) and until jobs end, or cancel some. Operator: raise `MAX_OPEN_JOBS_PER_CALLER`.",
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
} satisfies Partial<Rows>;
