import { DurableObject } from "cloudflare:workers";
import type { BatchView } from "../contract/batch.ts";
import type { JobFields } from "../contract/job.ts";
import type { ResponseFormat } from "../contract/models.ts";
import { asRequested } from "../contract/image-spec.ts";
import type { Failure } from "../errors/failure.ts";
import { nowSeconds } from "../lib/clock.ts";
import { newId } from "../lib/id.ts";
import { newIdInObject } from "../lib/object-id.ts";
import { runAlarm, setFirstAlarm } from "./alarm.ts";
import { mayCancel, type Cancellation, type Canceller } from "./cancellation.ts";
import { isFinal, type Attempt, type WebhookDelivery } from "./delivery.ts";
import { storableOutcome } from "./outcome.ts";
import { JobBatchStorage, type JobOutcome, type StoredBatch, type StoredJob } from "./storage.ts";
import type { JobInput, JobSubmission } from "./submission.ts";
import { batchView, jobFields, webhookEvent } from "./views.ts";

/** A stored submission. */
export interface AcceptedBatch {
  /** The id of the batch, or of the only job. */
  id: string;
  /** The ids of the jobs that have not ended. */
  openJobs: string[];
  /** The account of the caller that submitted it. Version 0.1.0 does not return it. */
  account?: string;
}

/** The number of jobs of a submission that have not ended, for the account of their caller. */
export interface OpenJobCount {
  account: string;
  /** The id of this Durable Object. */
  submission: string;
  open: number;
}

/** The current state of a job, for a response. */
export interface JobView {
  fields: JobFields;
  /** Unix seconds. */
  created: number;
  responseFormat: ResponseFormat;
  generationId: string | undefined;
  failure: Failure | undefined;
}

const CANCELLED: JobOutcome = { failure: { code: "cancelled" } };

/**
 * Stores a batch: its jobs, their outcomes and the webhook delivery. A single job is a batch of one.
 *
 * An Idempotency-Key or the id of a received webhook names the Durable Object, so that a repeated
 * submission reaches the batch that exists already.
 */
export class JobBatch extends DurableObject<object> {
  readonly #storage = new JobBatchStorage(this.ctx.storage.kv);

  /**
   * Stores a submission. If the same one is stored already, returns that.
   *
   * @returns `undefined` if a different submission has the name
   */
  async accept(submission: JobSubmission): Promise<AcceptedBatch | undefined> {
    const existing = this.#storage.batch();
    if (existing !== undefined) {
      return isSameSubmission(existing, submission) ? this.#accepted(existing) : undefined;
    }
    const objectId = this.ctx.id.toString();
    const { requests, ...rest } = submission;
    const jobs = requests.map(({ customId, request }, position) => ({
      id: newIdInObject("job", objectId),
      position,
      customId,
      // Each attempt decides which model to send.
      request: asRequested(request),
      responseFormat: request.response_format,
      generationId: undefined,
      outcome: undefined,
    }));
    for (const job of jobs) this.#storage.saveJob(job);
    const id = submission.isBatch ? newIdInObject("batch", objectId) : jobs[0]?.id;
    if (id === undefined) throw new Error("A submission requires at least one request.");
    const stored: StoredBatch = {
      ...rest,
      id,
      created: nowSeconds(),
      open: jobs.length,
      delivery:
        submission.webhookUrl === undefined
          ? undefined
          : {
              eventId: newId("evt"),
              body: undefined,
              deliverer: undefined,
              attempts: [],
              nextAttemptAt: undefined,
            },
    };
    this.#storage.saveBatch(stored);
    await setFirstAlarm(this.ctx, this.#storage, this.env);
    return this.#accepted(stored);
  }

  /**
   * Returns the stored submission if this is the same one by the same account.
   *
   * @returns `undefined` if nothing is stored, or the submission of another account; `"different"` if this
   *   account has stored other requests
   */
  existing(submission: JobSubmission): AcceptedBatch | "different" | undefined {
    const batch = this.#storage.batch();
    if (batch?.requester.payer.account !== submission.requester.payer.account) return undefined;
    return isSameSubmission(batch, submission) ? this.#accepted(batch) : "different";
  }

  /**
   * Begins an attempt of a job and returns the job's input. Until the attempt ends, a cancellation cannot end
   * the job. Returns `undefined` if the job has ended or is unknown. Version 0.1.0 calls this method by its
   * name.
   */
  task(id: string): JobInput | undefined {
    const batch = this.#storage.batch();
    const job = this.#storage.job(id);
    if (batch === undefined || job?.request === undefined) return undefined;
    this.#storage.saveJob({ ...job, isAttempting: true });
    const { requester, directives } = batch;
    const {
      request,
      generationId,
      isAttempting: isResumed = false,
      isCancelRequested = false,
    } = job;
    return { request, requester, directives, generationId, isResumed, isCancelRequested };
  }

  /**
   * Ends an attempt that made nothing. The job waits for the next attempt, unless it was cancelled during this
   * one.
   *
   * @returns true if the job has ended
   */
  endAttempt(id: string): boolean {
    return this.ctx.storage.transactionSync(() => {
      const job = this.#storage.job(id);
      if (job === undefined || job.outcome !== undefined) return true;
      if (job.isCancelRequested === true) {
        this.#finish(id, CANCELLED);
        return true;
      }
      this.#storage.saveJob({ ...job, generationId: undefined, isAttempting: false });
      return false;
    });
  }

  /**
   * Cancels a job, or all jobs of a batch: those that have not begun. Others run to their end.
   *
   * @param id of the job or batch
   * @returns `undefined` if the id is unknown, `"not_allowed"` if the caller must not cancel it
   */
  cancel(id: string, by: Canceller): Cancellation | "not_allowed" | undefined {
    const batch = this.#storage.batch();
    if (batch === undefined) return undefined;
    const isBatch = batch.isBatch && batch.id === id;
    const jobs = isBatch ? this.#storage.jobs() : [this.#storage.job(id)];
    const known = jobs.filter((job) => job !== undefined);
    if (known.length === 0) return undefined;
    if (!mayCancel(by, batch.requester)) return "not_allowed";
    return this.ctx.storage.transactionSync(() => {
      for (const job of known) this.#cancel(job);
      const { open = 0, delivery } = this.#storage.batch() ?? {};
      const isLast = batch.open > 0 && open === 0;
      return { deliverer: isLast ? delivery?.deliverer : undefined };
    });
  }

  #cancel(job: StoredJob): void {
    if (job.outcome !== undefined) return;
    // Version 0.1.0 did not mark attempts. If it stored a generation, that may be in progress.
    const mayBegin = job.isAttempting ?? job.generationId !== undefined;
    if (mayBegin) this.#storage.saveJob({ ...job, isCancelRequested: true });
    else this.#finish(job.id, CANCELLED);
  }

  /** Returns how many jobs have not ended; `undefined` if the batch was deleted. */
  openJobs(): OpenJobCount | undefined {
    const batch = this.#storage.batch();
    if (batch === undefined) return undefined;
    const { requester, open } = batch;
    return { account: requester.payer.account, submission: this.ctx.id.toString(), open };
  }

  /** Records the generation of a job. Version 0.1.0 calls this method by its name. */
  found(id: string, generationId: string): void {
    const job = this.#storage.job(id);
    if (job !== undefined) this.#storage.saveJob({ ...job, generationId });
  }

  /** Records the outcome of a job. Only the first call counts. */
  finish(id: string, outcome: JobOutcome): void {
    // Atomic: if a stored outcome were not counted, the batch would never complete or be delivered.
    this.ctx.storage.transactionSync(() => this.#finish(id, outcome));
  }

  #finish(id: string, reached: JobOutcome): void {
    const batch = this.#storage.batch();
    const job = this.#storage.job(id);
    if (batch === undefined || job === undefined || job.outcome !== undefined) return;
    const { outcome, isShortened } = storableOutcome(reached, batch.isBatch);
    const generationId = "record" in outcome ? outcome.record.id : job.generationId;
    const { isAttempting: _, isCancelRequested: __, ...rest } = job;
    const ended = { ...rest, request: undefined, generationId, outcome };
    this.#storage.saveJob(isShortened ? { ...ended, isShortened } : ended);
    const open = batch.open - 1;
    const { delivery } = batch;
    if (open > 0 || delivery === undefined) {
      this.#storage.saveBatch({ ...batch, open });
      return;
    }
    const completed = { ...batch, open };
    const event = webhookEvent(completed, this.#storage.jobs(), delivery.eventId, nowSeconds());
    const body = JSON.stringify(event);
    this.#storage.saveBatch({ ...completed, delivery: { ...delivery, body, deliverer: id } });
  }

  /**
   * Returns the webhook that the Workflow of this job must deliver. Returns `undefined` if the job
   * was not the last of its batch to end, or if the delivery needs no further attempt.
   */
  delivery(id: string): WebhookDelivery | undefined {
    const { delivery, webhookUrl: url } = this.#storage.batch() ?? {};
    if (delivery?.body === undefined || delivery.deliverer !== id || url === undefined) {
      return undefined;
    }
    const last = delivery.attempts.at(-1);
    if (last !== undefined && isFinal(last.outcome)) return undefined;
    return { url, eventId: delivery.eventId, body: delivery.body };
  }

  /**
   * Records a delivery attempt.
   *
   * @param nextAttemptAt Unix seconds; `undefined` after the last attempt
   */
  attempted(attempt: Attempt, nextAttemptAt: number | undefined): void {
    const batch = this.#storage.batch();
    if (batch?.delivery === undefined) return;
    const { delivery } = batch;
    const attempts = [...delivery.attempts, attempt];
    this.#storage.saveBatch({ ...batch, delivery: { ...delivery, attempts, nextAttemptAt } });
  }

  /** Returns the current state of a job; `undefined` if the job is unknown. */
  job(id: string): JobView | undefined {
    const batch = this.#storage.batch();
    const job = this.#storage.job(id);
    if (batch === undefined || job === undefined) return undefined;
    const { responseFormat, generationId, outcome } = job;
    return {
      fields: jobFields(job, batch),
      created: batch.created,
      responseFormat,
      generationId,
      failure: outcome !== undefined && "failure" in outcome ? outcome.failure : undefined,
    };
  }

  /** Returns the current state of the batch; `undefined` if the id is not that of a batch here. */
  batch(id: string): BatchView | undefined {
    const batch = this.#storage.batch();
    return batch?.isBatch === true && batch.id === id
      ? batchView(batch, this.#storage.jobs())
      : undefined;
  }

  /** Deletes the batch when its retention ends. In local development, resumes its Workflows until then. */
  override async alarm(): Promise<void> {
    await runAlarm(this.ctx, this.#storage, this.env);
  }

  #accepted({ id, requester }: StoredBatch): AcceptedBatch {
    const open = this.#storage.jobs().filter(({ outcome }) => outcome === undefined);
    return { id, openJobs: open.map((job) => job.id), account: requester.payer.account };
  }
}

/** Returns true if the requests are the same. Version 0.1.0 sends and stores cache keys only. */
function isSameSubmission(existing: StoredBatch, submission: JobSubmission): boolean {
  return existing.requestFingerprint === undefined || submission.requestFingerprint === undefined
    ? existing.fingerprint === submission.fingerprint
    : existing.requestFingerprint === submission.requestFingerprint;
}
