import { DurableObject } from "cloudflare:workers";
import { releaseBudget, reserveBudget, settleBudget } from "../access/budget.ts";
import { kvCache, type CachedImage } from "../cache/cache.ts";
import { configOf, type Config } from "../config/environment.ts";
import { costOf, costOfRecord, MICRO_PER_DOLLAR } from "../contract/pricing.ts";
import type { GenerationRecord } from "../contract/record.ts";
import { withSuccessor } from "../contract/request.ts";
import { failureOf, mayHaveCharged, type Failure } from "../errors/failure.ts";
import { nowSeconds } from "../lib/clock.ts";
import { newIdInObject } from "../lib/object-id.ts";
import { errorFields, log } from "../telemetry/log.ts";
import { dispatch } from "../upstream/client.ts";
import type { Job, PartialImage, Progress, ProgressQuery, StartResponse } from "./protocol.ts";
import { newRecord } from "./record.ts";
import { GenerationStorage, type StoredGeneration } from "./storage.ts";

/** What failed after a generation is tried again after 1 s, 2 s, 4 s …, for about ten minutes. */
const FIRST_RETRY_DELAY_MS = 1000;
const MAX_ATTEMPTS = 10;

/** A location of KV that looked for a moderation block in vain denies it for this time. */
const BLOCK_MS = 60_000;

/** An image that an object has. */
export interface ObjectImage extends CachedImage {
  /** Whether nobody else may keep it: the request said no-store. */
  isPrivate: boolean;
}

/**
 * The owner of a generation, which no client can cancel: the upstream is called in its alarm, and
 * what was made is in its SQLite before anybody is told.
 *
 * It makes one generation at a time. Whoever asks while that goes on is given the same one.
 */
export class Generation extends DurableObject<object> {
  #storage = new GenerationStorage(this.ctx.storage.sql);
  /** Callers that wait for something new. */
  readonly #waiters = new Set<() => void>();
  /** The generation whose upstream call is this very instance's. */
  #dispatching: string | undefined;
  /** Resolves when it is known whether a job that was asked for may begin. */
  #beginning: Promise<void> | undefined;

  /**
   * Begins a job, or joins the one that goes on or is done already. What cannot be paid for does not
   * begin, and says so to the one who asked.
   *
   * A failure is no result: the next request tries again. A moderation block is one for the first minute,
   * until KV tells every location of it.
   */
  async start(job: Job): Promise<StartResponse> {
    // Between two who ask at once: the second joins, unless the first may not have it made.
    while (this.#beginning !== undefined) await this.#beginning;
    const current = this.#usable(job.maxAgeSeconds);
    if (current !== undefined) {
      const { keepSeconds } = job;
      if (keepSeconds > current.job.keepSeconds) {
        this.#update(current.id, { job: { ...current.job, keepSeconds } });
      }
      return { ...progressOf(current, []), joined: true };
    }
    const blocked = this.#storage.failedSince(Date.now() - BLOCK_MS, "moderation_blocked");
    if (blocked !== undefined) return { ...progressOf(blocked, []), joined: true };
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#beginning = promise;
    try {
      return { ...progressOf(await this.#begin(job), []), joined: false };
    } finally {
      this.#beginning = undefined;
      resolve();
    }
  }

  /** A new generation: queued, or failed where its requester may not have it made. */
  async #begin(job: Job): Promise<StoredGeneration> {
    const config = configOf(this.env);
    const id = newIdInObject("gen", this.ctx.id.toString());
    const { worst } = costOf(job.request, config.prices);
    const refusal = await reserveBudget(config, job.payer, id, worst());
    const generation: StoredGeneration = {
      id,
      created: nowSeconds(),
      state: refusal === undefined ? "queued" : "failed",
      job,
      record: undefined,
      slots: [],
      failure: refusal,
      endedMs: undefined,
      settled: false,
      copied: !job.store,
      attempts: 0,
    };
    if (refusal !== undefined) return generation;
    this.#storage.clear();
    this.#storage.save(generation);
    await this.ctx.storage.setAlarm(Date.now());
    return generation;
  }

  /**
   * Returns the generation that is completed and not older than that; `undefined` if there is none.
   * Starts nothing.
   *
   * @param orInProgress true to return one that is queued or in progress as well
   */
  async made(maxAgeSeconds: number, orInProgress = false): Promise<StartResponse | undefined> {
    while (this.#beginning !== undefined) await this.#beginning;
    const current = this.#usable(maxAgeSeconds);
    if (current === undefined || (current.record === undefined && !orInProgress)) return undefined;
    return { ...progressOf(current, []), joined: true };
  }

  /**
   * How far a generation is, as soon as there is something new: a partial image beyond those that
   * the caller has seen, or its end. After `waitMs` the answer comes without anything new.
   *
   * @returns `undefined` for a generation that this object does not have
   */
  async progress(
    id: string,
    { seen, waitMs, withImages }: ProgressQuery,
  ): Promise<Progress | undefined> {
    const untilMs = Date.now() + waitMs;
    for (;;) {
      this.#failOrphan();
      const generation = this.#storage.byId(id);
      if (generation === undefined) return undefined;
      const partials = this.#storage.partials(id, seen);
      const isOver = generation.state === "done" || generation.state === "failed";
      const remainingMs = untilMs - Date.now();
      if (isOver || partials.length > 0 || remainingMs <= 0) {
        const progress = progressOf(generation, partials);
        if (!withImages || generation.state !== "done") return progress;
        return { ...progress, images: generation.slots.map((slot) => this.#imageStream(id, slot)) };
      }
      await this.#change(remainingMs);
    }
  }

  /**
   * One of the images; one chunk of it in memory at a time.
   *
   * @returns `undefined` for an image that this object does not have
   */
  image(id: string, index: number): ObjectImage | undefined {
    const generation = this.#storage.current();
    if (generation?.id !== id) return undefined;
    const slot = generation.slots[index];
    const image = generation.record?.images[index];
    if (slot === undefined || image === undefined) return undefined;
    const { type, bytes: sizeBytes } = image;
    return { body: this.#imageStream(id, slot), type, sizeBytes, isPrivate: !generation.job.store };
  }

  /** One of the partial images, by its slot. */
  partialImage(id: string, slot: number): ReadableStream<Uint8Array> | undefined {
    const isThere = this.#storage.partials(id, 0).some((partial) => partial.slot === slot);
    return isThere ? this.#imageStream(id, slot) : undefined;
  }

  /**
   * Deletes a completed generation, so that the next request regenerates it. A running one is left alone.
   *
   * @returns what was deleted, and the request key that KV has it under; `undefined` if nothing was
   */
  forget(id: string): { key: string; record: GenerationRecord } | undefined {
    const current = this.#storage.current();
    if (current?.id !== id || current.record === undefined) return undefined;
    this.#storage.clear();
    return { key: current.job.key, record: current.record };
  }

  /** Takes the next step: calls the upstream, settles what it cost, copies to KV, or cleans up. */
  override async alarm(): Promise<void> {
    this.#failOrphan();
    const queued = this.#storage.current();
    if (queued?.state === "queued") await this.#make(queued);
    for (const ended of this.#storage.unsettled()) await this.#settle(ended);
    const made = this.#storage.current();
    if (made?.state === "done" && !made.copied) await this.#copy(made);
    await this.#scheduleCleanUp();
  }

  /** The current generation, unless it is older than the caller will have. */
  #usable(maxAgeSeconds: number): StoredGeneration | undefined {
    this.#failOrphan();
    const current = this.#storage.current();
    if (current?.record === undefined) return current;
    return nowSeconds() - current.record.created <= maxAgeSeconds ? current : undefined;
  }

  async #make(generation: StoredGeneration): Promise<void> {
    const { id, job } = generation;
    this.#dispatching = id;
    const startedMs = Date.now();
    let { request } = job;
    let failure: Failure | undefined;
    try {
      const config = configOf(this.env);
      // The model may have been retired since the generation was queued.
      request = withSuccessor(request, config, startedMs);
      this.#storage.save({ ...generation, job: { ...job, request }, state: "dispatched" });
      const made = await dispatch(request, {
        config: config.upstream,
        localDevelopment: config.localDevelopment,
        sink: (slot, bytes) => this.#storage.writeImage(id, slot, bytes),
        onPartialImage: ({ index, image, resolved }) => {
          this.#storage.addPartial(id, { index, ...image, resolved, created: nowSeconds() });
          this.#wake();
        },
      });
      this.#update(id, {
        state: "done",
        record: newRecord(id, request, made, nowSeconds()),
        slots: made.images.map((image) => image.slot),
        endedMs: Date.now(),
      });
    } catch (error) {
      failure = failureOf(error);
      if (failure.code === "internal_error") {
        log("error", "generation_broke", { id, ...errorFields(error) });
        // The call is out: what was our own fault after that may have been paid for.
        failure = { code: "upstream_outcome_unknown" };
      }
      this.#fail(id, failure);
    } finally {
      this.#dispatching = undefined;
    }
    log("info", "generation", {
      id,
      model: request.upstreamModel,
      n: request.n,
      upstream_ms: Date.now() - startedMs,
      cost_usd: this.#costOf(id),
      error: failure?.code,
    });
    this.#wake();
    if (failure?.code === "moderation_blocked") await this.#rememberRefusal(job.key, failure);
  }

  /** What a generation has cost, in dollars; `undefined` where it was not made. */
  #costOf(id: string): number | undefined {
    const record = this.#storage.byId(id)?.record;
    if (record === undefined) return undefined;
    return costOfRecord(record, configOf(this.env).prices) / MICRO_PER_DOLLAR;
  }

  /** Changes a generation as it is stored by now; one that was replaced meanwhile stays gone. */
  #update(id: string, changes: Partial<StoredGeneration>): void {
    const stored = this.#storage.byId(id);
    if (stored !== undefined) this.#storage.save({ ...stored, ...changes });
  }

  /**
   * A call that was made by an instance that is no more: whether the picture exists nobody knows,
   * and asking again could pay twice.
   */
  #failOrphan(): void {
    const current = this.#storage.current();
    if (current?.state !== "dispatched" || current.id === this.#dispatching) return;
    this.#fail(current.id, { code: "upstream_outcome_unknown" });
    this.#wake();
  }

  #fail(id: string, failure: Failure): void {
    this.#update(id, { state: "failed", failure, endedMs: Date.now() });
    this.#storage.forgetOldFailures();
  }

  async #rememberRefusal(key: string, failure: Failure): Promise<void> {
    const config = configOf(this.env);
    try {
      await cacheOf(config).storeModerationBlock(key, failure, config.refusalTtlSeconds);
    } catch (error) {
      log("error", "cache_write_failed", errorFields(error));
    }
  }

  /**
   * Tells the accounts what a generation cost. Where nobody knows it is what was reserved; where that
   * cannot be told, the reservation stands, and counts as spent.
   */
  async #settle(generation: StoredGeneration): Promise<void> {
    const { id, job, record, failure } = generation;
    const { request, payer } = job;
    const model = request.upstreamModel;
    try {
      const config = configOf(this.env);
      const { worst, actual } = costOf(request, config.prices);
      if (record !== undefined) {
        const images = record.images.length;
        const spent = actual(record.usage, images);
        await settleBudget(config, payer, id, { spent, model, images });
      } else if (failure !== undefined && mayHaveCharged(failure)) {
        await settleBudget(config, payer, id, { spent: worst(), model, images: 0 });
      } else {
        await releaseBudget(config, payer, id);
      }
      this.#update(id, { settled: true });
    } catch (error) {
      const attempts = this.#failedAgain(generation, "budget_settle_failed", error);
      this.#update(id, { attempts, settled: attempts >= MAX_ATTEMPTS });
    }
  }

  #failedAgain({ id, attempts }: StoredGeneration, event: string, error: unknown): number {
    log("error", event, { id, attempt: attempts + 1, ...errorFields(error) });
    return attempts + 1;
  }

  /** Copies to KV; what fails is tried again by alarm, without the upstream. */
  async #copy(generation: StoredGeneration): Promise<void> {
    const { id, job, record, slots } = generation;
    if (record === undefined) return;
    try {
      await cacheOf(configOf(this.env)).store(job.key, record, (index) =>
        this.#storage.readImage(id, slots[index]),
      );
      this.#update(id, { copied: true, copiedMs: Date.now() });
    } catch (error) {
      const attempts = this.#failedAgain(generation, "cache_write_failed", error);
      // Then the object alone has it, for as long as it keeps it.
      if (attempts < MAX_ATTEMPTS) this.#update(id, { attempts });
      else this.#update(id, { attempts, copied: true, copiedMs: Date.now() });
    }
  }

  /** Sets the alarm for what comes next, or deletes everything when its time is over. */
  async #scheduleCleanUp(): Promise<void> {
    const current = this.#storage.current();
    // Somebody has begun a new one meanwhile, and has set the alarm for it.
    if (current?.state === "queued") return;
    const now = Date.now();
    const unsettled = this.#storage.unsettled();
    const unfinished =
      current === undefined || current.copied ? unsettled : [current, ...unsettled];
    if (unfinished.length > 0) {
      const attempts = Math.max(...unfinished.map((generation) => generation.attempts));
      await this.ctx.storage.setAlarm(now + FIRST_RETRY_DELAY_MS * 2 ** (attempts - 1));
      return;
    }
    const keepUntil = this.#storage.keepUntilMs();
    if (keepUntil !== undefined && now < keepUntil) {
      await this.ctx.storage.setAlarm(keepUntil);
      return;
    }
    await this.ctx.storage.deleteAll();
    this.#storage = new GenerationStorage(this.ctx.storage.sql);
  }

  #wake(): void {
    for (const wake of this.#waiters) wake();
    this.#waiters.clear();
  }

  /** Something new, or the end of the time. */
  async #change(withinMs: number): Promise<void> {
    const timer = new AbortController();
    const { promise: woken, resolve: wake } = Promise.withResolvers<void>();
    this.#waiters.add(wake);
    const timeout = scheduler.wait(withinMs, { signal: timer.signal }).catch(() => undefined);
    await Promise.race([woken, timeout]);
    timer.abort();
    this.#waiters.delete(wake);
  }

  #imageStream(id: string, slot: number): ReadableStream<Uint8Array> {
    let part = 0;
    return new ReadableStream({
      type: "bytes",
      pull: (controller) => {
        const chunk = this.#storage.readChunk(id, slot, part);
        part += 1;
        if (chunk === undefined) {
          controller.close();
          controller.byobRequest?.respond(0);
        } else {
          controller.enqueue(chunk);
        }
      },
    });
  }
}

function cacheOf(config: Config) {
  return kvCache(config.cache, config.cacheTtlSeconds);
}

function progressOf(generation: StoredGeneration, partials: PartialImage[]): Progress {
  const { id, created, state, record, failure } = generation;
  return {
    id,
    created,
    state: state === "dispatched" ? "in_progress" : state,
    partials,
    ...(record === undefined ? {} : { record }),
    ...(failure === undefined ? {} : { failure }),
  };
}
