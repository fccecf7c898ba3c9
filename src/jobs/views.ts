import type { BatchResult, BatchView } from "../contract/batch.ts";
import type { DeliveryView, JobFields, JobStatus } from "../contract/job.ts";
import { responseWithUrls } from "../contract/response.ts";
import { toWire } from "../errors/wire.ts";
import { isFinal } from "./delivery.ts";
import { jsonBytes } from "./outcome.ts";
import type { StoredBatch, StoredDelivery, StoredJob } from "./storage.ts";

function statusOf({ outcome, generationId }: StoredJob): JobStatus {
  if (outcome !== undefined) {
    if ("record" in outcome) return "completed";
    return outcome.failure.code === "cancelled" ? "cancelled" : "failed";
  }
  return generationId === undefined ? "queued" : "in_progress";
}

/** Returns the fields that every response about a job has. */
export function jobFields(job: StoredJob, { delivery, isBatch }: StoredBatch): JobFields {
  const fields = { job: job.id, status: statusOf(job) };
  // The webhook of a batch belongs to the batch, not to one of its jobs.
  if (delivery === undefined || isBatch) return fields;
  return { ...fields, delivery: deliveryView(delivery) };
}

/** Returns the current state of a batch, for a response. */
export function batchView(batch: StoredBatch, jobs: readonly StoredJob[]): BatchView {
  const { id, created, open, origin, delivery } = batch;
  const count = (status: JobStatus) => jobs.filter((job) => statusOf(job) === status).length;
  return {
    id,
    object: "image.batch",
    created,
    status: open === 0 ? "completed" : "in_progress",
    request_counts: {
      total: jobs.length,
      completed: count("completed"),
      failed: count("failed"),
      cancelled: count("cancelled"),
    },
    results: jobs.map((job) => ({
      // Every job of a batch has a customId. The fallback only satisfies the type.
      custom_id: job.customId ?? job.id,
      job: job.id,
      status: statusOf(job),
      ...resultOf(job, origin),
      ...(job.isShortened === true ? { truncated: true as const } : {}),
    })),
    ...(delivery === undefined ? {} : { delivery: deliveryView(delivery) }),
  };
}

/**
 * The maximum size of a webhook event, in bytes. A Durable Object stores it in one value of at most 2 MB, in
 * which a character may take two bytes.
 */
const MAX_EVENT_BYTES = 900_000;

/**
 * Returns the webhook event for a batch whose jobs have all ended. Its images are URLs. What does not fit is
 * left out, and the event then has the URL that returns it.
 *
 * @param nowSeconds Unix seconds
 */
export function webhookEvent(
  batch: StoredBatch,
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
  if (batch.isBatch || job === undefined) {
    const { delivery: _, ...data } = batchView(batch, jobs);
    return boundedEvent(data, batch, (bounded) => event("batch.completed", bounded));
  }
  const { response, error } = resultOf(job, batch.origin);
  const { generationId: id } = job;
  const url = `${batch.origin}/v1/images/generations/${job.id}`;
  const fields = {
    job: job.id,
    status: statusOf(job),
    ...(job.isShortened === true ? { truncated: true, url } : {}),
  };
  return response === undefined
    ? event("image.generation.failed", { id, ...fields, error })
    : event("image.generation.completed", { ...response, ...fields });
}

/**
 * Returns the event of a batch with the results that fit, in order. Every other result has no `response` and no
 * `error`.
 */
function boundedEvent(
  data: Omit<BatchView, "delivery">,
  { id, origin }: StoredBatch,
  eventOf: (data: object) => object,
): object {
  const event = eventOf(data);
  if (jsonBytes(event) <= MAX_EVENT_BYTES) return event;
  const bare = data.results.map(({ custom_id, job, status }) => ({ custom_id, job, status }));
  const truncated = {
    ...data,
    results_truncated: true,
    url: `${origin}/v1/images/batches/${id}`,
  };
  let bytes = jsonBytes(eventOf({ ...truncated, results: bare }));
  const results = data.results.map((result, index): BatchResult => {
    const least = bare[index] ?? result;
    const more = jsonBytes(result) - jsonBytes(least);
    if (bytes + more > MAX_EVENT_BYTES) return least;
    bytes += more;
    return result;
  });
  return eventOf({ ...truncated, results });
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
