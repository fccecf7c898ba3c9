import { GatewayError, type Failure } from "../errors/failure.ts";
import { WEBHOOK_URL } from "./request-body.ts";
import type { ImageRequest } from "./request.ts";

export const JOB_STATUSES = ["queued", "in_progress", "completed", "failed", "cancelled"] as const;

export type JobStatus = (typeof JOB_STATUSES)[number];

/** The outcome of one attempt to deliver a webhook. */
export const ATTEMPT_OUTCOMES = [
  /** 2xx. */
  "delivered",
  /** 410: the receiver accepts no further attempts. */
  "gone",
  /** Any other status. */
  "failed",
  "timeout",
  "unreachable",
  /** The configuration no longer allows this host. */
  "not_allowed",
] as const;

export type AttemptOutcome = (typeof ATTEMPT_OUTCOMES)[number];

/** The webhook delivery of a job or batch, as clients see it. */
export interface DeliveryView {
  /** The id of the event, also sent as the header `webhook-id`. */
  event: string;
  status: (typeof DELIVERY_STATUSES)[number];
  attempts: DeliveryAttempt[];
  /** Unix seconds. Absent if there is no next attempt. */
  next_attempt_at?: number | undefined;
}

export const DELIVERY_STATUSES = [
  "pending",
  "delivered",
  /** The receiver responded with 410. */
  "stopped",
  /** The last attempt failed. */
  "failed",
] as const;

/** One attempt of a webhook delivery. */
interface DeliveryAttempt {
  /** Unix seconds. */
  at: number;
  outcome: AttemptOutcome;
  /** The status of the receiver's response. Absent without a response. */
  status?: number | undefined;
}

const RETRYABLE: readonly Failure["code"][] = [
  "rate_limit_exceeded",
  "upstream_rate_limited",
  "idempotency_key_busy",
];

/** Returns true if a failed job may be retried: nothing was generated, and waiting may help. */
export function isRetryable({ code }: Failure): boolean {
  return RETRYABLE.includes(code);
}

/** The fields of a job in every response about it. */
export interface JobFields {
  job: string;
  status: JobStatus;
  /** Absent without a `webhook_url`. */
  delivery?: DeliveryView;
}

/** The response while a job is queued or in progress, and to the request that cancels it. */
export interface PendingJobResponse {
  id: string;
  /** The same as `id`. Every other response about the job has it too. */
  job: string;
  status: JobStatus;
  /** Unix seconds. */
  created: number;
  delivery?: DeliveryView | undefined;
}

/** The maximum length of an Idempotency-Key and of a webhook-id. */
export const KEY_MAX_CHARS = 255;

/**
 * Splits `webhook_url`, which is a parameter of no model, from a body. `null` means absent.
 *
 * @param json as parsed, not trusted
 */
export function splitWebhookUrl(json: unknown): { body: unknown; webhookUrl: unknown } {
  if (typeof json !== "object" || json === null || !(WEBHOOK_URL in json)) {
    return { body: json, webhookUrl: undefined };
  }
  const { [WEBHOOK_URL]: webhookUrl, ...body } = json;
  return { body, webhookUrl: webhookUrl ?? undefined };
}

/**
 * Returns the generation request in the body of a webhook: the body itself, or the `data` of an event
 * (Standard Webhooks, "Payload structure").
 */
export function requestInEvent(json: unknown): unknown {
  if (typeof json !== "object" || json === null || !("data" in json)) return json;
  const { data } = json;
  return typeof data === "object" && data !== null ? data : json;
}

/**
 * Rejects a request that cannot be a job.
 *
 * @throws {GatewayError} `unsupported_parameter`
 */
export function requireNoStream({ delivery }: ImageRequest): void {
  if (delivery.stream) throw new GatewayError({ code: "stream_in_job" });
}
