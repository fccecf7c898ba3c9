import type { ResponseFormat } from "../contract/models.ts";
import type { GenerationRecord } from "../contract/record.ts";
import type { ImageRequest } from "../contract/request.ts";
import type { Failure } from "../errors/failure.ts";
import type { Attempt } from "./delivery.ts";
import type { Order } from "./order.ts";

/** What is known of an order beside its jobs. */
export interface StoredOrder extends Omit<Order, "requests"> {
  /** `batch_…`, or that of its one job. */
  id: string;
  /** Unix seconds. */
  created: number;
  /** How many of its jobs are not over. */
  open: number;
  /** What is to be told when all are over; `undefined` where nobody is to be told. */
  delivery: StoredDelivery | undefined;
}

export interface StoredDelivery {
  eventId: string;
  /** The event's JSON, once there is something to tell: every attempt sends the very same. */
  body: string | undefined;
  /** The job that ended last: it delivers. */
  deliverer: string | undefined;
  attempts: Attempt[];
  /** Unix seconds. */
  nextAttemptAt: number | undefined;
}

/** What came of a job. */
export type JobOutcome = { record: GenerationRecord } | { failure: Failure };

export interface StoredJob {
  id: string;
  /** Its place in its batch, from 0. */
  position: number;
  customId: string | undefined;
  /** Until it is over: from then on nobody needs the prompt. */
  request: ImageRequest | undefined;
  /** How the client wants its pictures. */
  responseFormat: ResponseFormat;
  /** Once it is known which generation it is. */
  generationId: string | undefined;
  /** Once it is over. */
  outcome: JobOutcome | undefined;
}

const ORDER = "order";
const JOB = "job/";

/**
 * What a Jobs object keeps.
 *
 * | key | value |
 * | --- | --- |
 * | `order` | the order and its delivery: StoredOrder |
 * | `job/<id>` | each of its jobs: StoredJob |
 */
export class JobsStorage {
  readonly #kv: SyncKvStorage;

  constructor(kv: SyncKvStorage) {
    this.#kv = kv;
  }

  order(): StoredOrder | undefined {
    return this.#kv.get<StoredOrder>(ORDER);
  }

  saveOrder(order: StoredOrder): void {
    this.#kv.put(ORDER, order);
  }

  job(id: string): StoredJob | undefined {
    return this.#kv.get<StoredJob>(`${JOB}${id}`);
  }

  saveJob(job: StoredJob): void {
    this.#kv.put(`${JOB}${job.id}`, job);
  }

  /** All of them, in the order in which they were asked for. */
  jobs(): StoredJob[] {
    const jobs = [...this.#kv.list<StoredJob>({ prefix: JOB })].map(([, job]) => job);
    return jobs.toSorted((a, b) => a.position - b.position);
  }
}
