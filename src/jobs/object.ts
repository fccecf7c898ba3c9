import { DurableObject } from "cloudflare:workers";
import type { BatchView } from "../contract/batch.ts";
import type { JobFields } from "../contract/job.ts";
import type { ResponseFormat } from "../contract/models.ts";
import { asRequested, type ImageRequest } from "../contract/request.ts";
import type { Failure } from "../errors/failure.ts";
import type { Requester } from "../generation/generate.ts";
import type { CacheDirectives } from "../lib/cache-control.ts";
import { nowSeconds } from "../lib/clock.ts";
import { newId } from "../lib/id.ts";
import { newIdInObject } from "../lib/object-id.ts";
import { isFinal, type Attempt, type Delivery } from "./delivery.ts";
import type { Order } from "./order.ts";
import { JobsStorage, type JobOutcome, type StoredOrder } from "./storage.ts";
import { batchView, eventOf, jobFields } from "./views.ts";

/** How long an order can be asked for. The longest schedule of attempts is over after three days. */
const KEEP_SECONDS = 7 * 24 * 60 * 60;

/** An order as it was taken. */
export interface Accepted {
  /** Of the batch, or of the one job. */
  id: string;
  /** Those of its jobs that are not over. */
  openJobs: string[];
}

/** What a job is to do. */
export interface Task {
  request: ImageRequest;
  requester: Requester;
  directives: CacheDirectives;
}

/** A job as it can be asked for. */
export interface JobView {
  fields: JobFields;
  /** Unix seconds. */
  created: number;
  responseFormat: ResponseFormat;
  generationId: string | undefined;
  failure: Failure | undefined;
}

/**
 * One order: its jobs, what came of them, and the one call back that tells of it.
 *
 * A webhook's id, or an Idempotency-Key, names the object: whoever orders again has ordered already.
 */
export class Jobs extends DurableObject<object> {
  readonly #storage = new JobsStorage(this.ctx.storage.kv);

  /**
   * Takes an order, once.
   *
   * @returns `undefined` where another order has the name
   */
  async accept(order: Order): Promise<Accepted | undefined> {
    const known = this.#storage.order();
    if (known !== undefined) {
      return isSameOrder(known, order) ? this.#accepted(known) : undefined;
    }
    const objectId = this.ctx.id.toString();
    const { requests, ...rest } = order;
    const jobs = requests.map(({ customId, request }, position) => ({
      id: newIdInObject("job", objectId),
      position,
      customId,
      // Which model is sent is decided at each attempt.
      request: asRequested(request),
      responseFormat: request.response_format,
      generationId: undefined,
      outcome: undefined,
    }));
    for (const job of jobs) this.#storage.saveJob(job);
    const id = order.isBatch ? newIdInObject("batch", objectId) : jobs[0]?.id;
    if (id === undefined) throw new Error("an order asks for something");
    const stored: StoredOrder = {
      ...rest,
      id,
      created: nowSeconds(),
      open: jobs.length,
      delivery:
        order.webhookUrl === undefined
          ? undefined
          : {
              eventId: newId("evt"),
              body: undefined,
              deliverer: undefined,
              attempts: [],
              nextAttemptAt: undefined,
            },
    };
    this.#storage.saveOrder(stored);
    await this.ctx.storage.setAlarm(Date.now() + KEEP_SECONDS * 1000);
    return this.#accepted(stored);
  }

  /** What a job is to do; `undefined` when it is over, or unknown. */
  task(id: string): Task | undefined {
    const order = this.#storage.order();
    const request = this.#storage.job(id)?.request;
    if (order === undefined || request === undefined) return undefined;
    return { request, requester: order.requester, directives: order.directives };
  }

  /** Says which generation a job has become. */
  found(id: string, generationId: string): void {
    const job = this.#storage.job(id);
    if (job !== undefined) this.#storage.saveJob({ ...job, generationId });
  }

  /** Says what came of a job; only the first time counts. */
  finish(id: string, outcome: JobOutcome): void {
    // All of it or nothing: a job that is over and not counted would never be told of.
    this.ctx.storage.transactionSync(() => this.#finish(id, outcome));
  }

  #finish(id: string, outcome: JobOutcome): void {
    const order = this.#storage.order();
    const job = this.#storage.job(id);
    if (order === undefined || job === undefined || job.outcome !== undefined) return;
    const generationId = "record" in outcome ? outcome.record.id : job.generationId;
    this.#storage.saveJob({ ...job, request: undefined, generationId, outcome });
    const open = order.open - 1;
    const { delivery } = order;
    if (open > 0 || delivery === undefined) {
      this.#storage.saveOrder({ ...order, open });
      return;
    }
    const ended = { ...order, open };
    const event = eventOf(ended, this.#storage.jobs(), delivery.eventId, nowSeconds());
    const body = JSON.stringify(event);
    this.#storage.saveOrder({ ...ended, delivery: { ...delivery, body, deliverer: id } });
  }

  /**
   * What a job has to tell, and whom; `undefined` unless it was the last of its order, and when it is
   * told, or the receiver wants no more.
   */
  delivery(id: string): Delivery | undefined {
    const { delivery, webhookUrl: url } = this.#storage.order() ?? {};
    if (delivery?.body === undefined || delivery.deliverer !== id || url === undefined) {
      return undefined;
    }
    const last = delivery.attempts.at(-1);
    if (last !== undefined && isFinal(last.outcome)) return undefined;
    return { url, eventId: delivery.eventId, body: delivery.body };
  }

  /**
   * Writes down an attempt to call back.
   *
   * @param nextAttemptAt Unix seconds; `undefined` when it was the last
   */
  attempted(attempt: Attempt, nextAttemptAt: number | undefined): void {
    const order = this.#storage.order();
    if (order?.delivery === undefined) return;
    const { delivery } = order;
    const attempts = [...delivery.attempts, attempt];
    this.#storage.saveOrder({ ...order, delivery: { ...delivery, attempts, nextAttemptAt } });
  }

  /** A job as far as it is; `undefined` when it is unknown. */
  job(id: string): JobView | undefined {
    const order = this.#storage.order();
    const job = this.#storage.job(id);
    if (order === undefined || job === undefined) return undefined;
    const { responseFormat, generationId, outcome } = job;
    return {
      fields: jobFields(job, order),
      created: order.created,
      responseFormat,
      generationId,
      failure: outcome !== undefined && "failure" in outcome ? outcome.failure : undefined,
    };
  }

  /** The batch as far as it is; `undefined` when it is unknown. */
  batch(id: string): BatchView | undefined {
    const order = this.#storage.order();
    return order?.isBatch === true && order.id === id
      ? batchView(order, this.#storage.jobs())
      : undefined;
  }

  override async alarm(): Promise<void> {
    await this.ctx.storage.deleteAll();
  }

  #accepted({ id }: StoredOrder): Accepted {
    const open = this.#storage.jobs().filter(({ outcome }) => outcome === undefined);
    return { id, openJobs: open.map((job) => job.id) };
  }
}

/** Returns true if two orders under one name request the same. Version 0.1.0 sends and stores cache keys only. */
function isSameOrder(known: StoredOrder, order: Order): boolean {
  return known.requestFingerprint === undefined || order.requestFingerprint === undefined
    ? known.fingerprint === order.fingerprint
    : known.requestFingerprint === order.requestFingerprint;
}
