import type { ResponseFormat } from "../contract/models.ts";
import type { GenerationRecord } from "../contract/record.ts";
import type { StoredRequest } from "../contract/stored-request.ts";
import type { Failure } from "../errors/failure.ts";
import type { Attempt } from "./delivery.ts";
import type { JobSubmission } from "./submission.ts";

/** A batch without its jobs. */
export interface StoredBatch extends Omit<JobSubmission, "requests"> {
  /** `batch_…`, or the id of the only job. */
  id: string;
  /** Unix seconds. */
  created: number;
  /** The number of jobs that have not ended. */
  open: number;
  /** The webhook delivery; `undefined` without a `webhook_url`. */
  delivery: StoredDelivery | undefined;
}

/** The webhook delivery of a batch, with its attempts so far. */
export interface StoredDelivery {
  eventId: string;
  /** The event's JSON, set when the last job ends. Every attempt sends the same bytes. */
  body: string | undefined;
  /** The id of the job that ended last. Its Workflow delivers the webhook. */
  deliverer: string | undefined;
  attempts: Attempt[];
  /** Unix seconds. */
  nextAttemptAt: number | undefined;
}

/** The result of a completed job, or the failure of a failed or cancelled one. */
export type JobOutcome = { record: GenerationRecord } | { failure: Failure };

/** A job, with its input until it ends and its outcome after that. */
export interface StoredJob {
  id: string;
  /** The index in its batch, from 0. */
  position: number;
  customId: string | undefined;
  /** The request; deleted when the job ends, so that the prompt is not stored longer than needed. */
  request: StoredRequest | undefined;
  /** The response format of the request. */
  responseFormat: ResponseFormat;
  /** The id of its generation; `undefined` until an attempt is bound to one, and after an attempt that made nothing. */
  generationId: string | undefined;
  /** `undefined` until the job completes, fails or is cancelled. */
  outcome: JobOutcome | undefined;
  /** True if the outcome was too large to be stored with its texts. */
  isShortened?: boolean;
  /**
   * True during an attempt, which may start a generation at any time. False while the job waits for the next
   * attempt. Absent before the first one, and in jobs that version 0.1.0 stored.
   */
  isAttempting?: boolean;
  /** True if the job was cancelled during an attempt. It ends if that attempt makes nothing. */
  isCancelRequested?: boolean;
}

/** The key's name predates the type's: stored batches have it. */
const BATCH = "order";
const JOB = "job/";

/**
 * Reads and writes the storage of a `JobBatch`.
 *
 * | key | value |
 * | --- | --- |
 * | `order` | the batch and its delivery: StoredBatch |
 * | `job/<id>` | each of its jobs: StoredJob |
 *
 * Keys, stored properties, RPC methods and their properties must not be renamed. Rows live for days,
 * and after a deployment a busy Durable Object can run the previous version for up to 15 minutes.
 */
export class JobBatchStorage {
  readonly #kv: SyncKvStorage;

  constructor(kv: SyncKvStorage) {
    this.#kv = kv;
  }

  batch(): StoredBatch | undefined {
    return this.#kv.get<StoredBatch>(BATCH);
  }

  saveBatch(batch: StoredBatch): void {
    this.#kv.put(BATCH, batch);
  }

  job(id: string): StoredJob | undefined {
    return this.#kv.get<StoredJob>(`${JOB}${id}`);
  }

  saveJob(job: StoredJob): void {
    this.#kv.put(`${JOB}${job.id}`, job);
  }

  /** Returns all jobs in the order of the submitted requests. */
  jobs(): StoredJob[] {
    const jobs = [...this.#kv.list<StoredJob>({ prefix: JOB })].map(([, job]) => job);
    return jobs.toSorted((a, b) => a.position - b.position);
  }
}
