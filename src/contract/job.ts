import { z } from "@hono/zod-openapi";
import { GatewayError, type Failure } from "../errors/failure.ts";
import { once } from "../lib/once.ts";
import type { ImageRequest } from "./request.ts";

export const JOB_STATUSES = ["queued", "in_progress", "completed", "failed"] as const;

/** How far a job is. */
export type JobStatus = (typeof JOB_STATUSES)[number];

/** What came of one attempt to call back. */
export const ATTEMPT_OUTCOMES = [
  /** 2xx. */
  "delivered",
  /** 410: the receiver wants no more. */
  "gone",
  /** Any other status. */
  "failed",
  "timeout",
  "unreachable",
  /** The gateway may not call this host any more. */
  "not_allowed",
] as const;

export type AttemptOutcome = (typeof ATTEMPT_OUTCOMES)[number];

/** The call back, as far as it is. */
export const deliverySchema = once(() =>
  z
    .object({
      event: z.string().openapi({ description: "The id of the event, and the webhook-id header." }),
      status: z.enum(["pending", "delivered", "stopped", "failed"]).openapi({
        description: "stopped: the receiver answered 410. failed: after the last attempt.",
      }),
      attempts: z.array(
        z.object({
          at: z.int().openapi({ description: "Unix seconds." }),
          outcome: z.enum(ATTEMPT_OUTCOMES),
          status: z.int().optional().openapi({ description: "What the receiver answered." }),
        }),
      ),
      next_attempt_at: z.int().optional().openapi({ description: "Unix seconds." }),
    })
    .openapi("Delivery"),
);

export type DeliveryView = z.infer<ReturnType<typeof deliverySchema>>;

/** Returns true if a failed job may be retried: nothing was generated, and waiting may help. */
export function mayPass({ code }: Failure): boolean {
  return code === "rate_limit_exceeded" || code === "upstream_rate_limited";
}

/** What every answer about a job says of it. */
export interface JobFields {
  job: string;
  status: JobStatus;
  /** Absent where nobody is to be called back. */
  delivery?: DeliveryView;
}

/** A job that is not over yet. */
export const pendingJobSchema = once(() =>
  z
    .object({
      id: z.string(),
      job: z
        .string()
        .openapi({ description: "The same; other answers about the job have it too." }),
      status: z.enum(JOB_STATUSES),
      created: z.int().openapi({ description: "Unix seconds." }),
      delivery: deliverySchema().optional(),
    })
    .openapi("PendingJob"),
);

const WEBHOOK_URL = "webhook_url";

/**
 * Splits `webhook_url`, which is a parameter of no model, from a body. `null` means absent.
 *
 * @param json as parsed, not trusted
 */
export function takeWebhookUrl(json: unknown): { body: unknown; webhookUrl: unknown } {
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
