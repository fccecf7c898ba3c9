import type { BatchView } from "../contract/batch.ts";
import type { DeliveryView, JobFields, JobStatus } from "../contract/job.ts";
import { responseWithUrls } from "../contract/response.ts";
import { toWire } from "../errors/wire.ts";
import { isFinal } from "./delivery.ts";
import type { StoredDelivery, StoredJob, StoredOrder } from "./storage.ts";

/** How far a job is. */
function statusOf({ outcome, generationId }: StoredJob): JobStatus {
  if (outcome !== undefined) return "record" in outcome ? "completed" : "failed";
  return generationId === undefined ? "queued" : "in_progress";
}

/** What every answer about a job says of it. */
export function jobFields(job: StoredJob, { delivery, isBatch }: StoredOrder): JobFields {
  const fields = { job: job.id, status: statusOf(job) };
  // A batch tells once, of all its jobs.
  if (delivery === undefined || isBatch) return fields;
  return { ...fields, delivery: deliveryView(delivery) };
}

/** A batch as far as it is. */
export function batchView(order: StoredOrder, jobs: readonly StoredJob[]): BatchView {
  const { id, created, open, origin, delivery } = order;
  const count = (status: JobStatus) => jobs.filter((job) => statusOf(job) === status).length;
  return {
    id,
    object: "image.batch",
    created,
    status: open === 0 ? "completed" : "in_progress",
    request_counts: { total: jobs.length, completed: count("completed"), failed: count("failed") },
    results: jobs.map((job) => ({
      // In a batch every job has one.
      custom_id: job.customId ?? job.id,
      job: job.id,
      status: statusOf(job),
      ...resultOf(job, origin),
    })),
    ...(delivery === undefined ? {} : { delivery: deliveryView(delivery) }),
  };
}

/**
 * The event that tells that an order is over (contract.md, "Webhooks"): pictures by URL.
 *
 * @param nowSeconds Unix seconds
 */
export function eventOf(
  order: StoredOrder,
  jobs: readonly StoredJob[],
  eventId: string,
  nowSeconds: number,
): object {
  const event = (type: string, data: object) => ({
    id: eventId,
    object: "event",
    created_at: nowSeconds,
    type,
    data,
  });
  const [job] = jobs;
  if (order.isBatch || job === undefined) {
    const { delivery: _, ...batch } = batchView(order, jobs);
    return event("batch.completed", batch);
  }
  const { response, error } = resultOf(job, order.origin);
  const { generationId: id } = job;
  const fields = { job: job.id, status: statusOf(job) };
  return response === undefined
    ? event("image.generation.failed", { id, ...fields, error })
    : event("image.generation.completed", { ...response, ...fields });
}

function resultOf({ outcome }: StoredJob, origin: string) {
  if (outcome === undefined) return {};
  return "record" in outcome
    ? { response: responseWithUrls(outcome.record, origin) }
    : { error: toWire(outcome.failure).body.error };
}

function deliveryView({ eventId, attempts, nextAttemptAt }: StoredDelivery): DeliveryView {
  return {
    event: eventId,
    status: deliveryStatus(attempts, nextAttemptAt),
    attempts: attempts.map(({ at, outcome, status }) => ({
      at,
      outcome,
      ...(status === undefined ? {} : { status }),
    })),
    ...(nextAttemptAt === undefined ? {} : { next_attempt_at: nextAttemptAt }),
  };
}

function deliveryStatus(
  attempts: StoredDelivery["attempts"],
  nextAttemptAt: number | undefined,
): DeliveryView["status"] {
  const last = attempts.at(-1)?.outcome;
  if (last === undefined) return "pending";
  if (last === "delivered") return "delivered";
  if (isFinal(last)) return "stopped";
  return nextAttemptAt === undefined ? "failed" : "pending";
}
