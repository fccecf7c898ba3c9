import { DurableObject } from "cloudflare:workers";
import { withSafetyIdentifier } from "../access/safety-identifier.ts";
import { kvCache } from "../cache/cache.ts";
import { configOf, type Config } from "../config/environment.ts";
import { costOfRecord, MICRO_PER_DOLLAR } from "../contract/pricing.ts";
import type { GenerationRecord } from "../contract/record.ts";
import { withSuccessor, type ImageRequest } from "../contract/request.ts";
import { fromStoredRequest, toStoredRequest } from "../contract/stored-request.ts";
import { failureOf, type Failure } from "../errors/failure.ts";
import { nowSeconds } from "../lib/clock.ts";
import { newIdInObject } from "../lib/object-id.ts";
import { errorFields, log } from "../telemetry/log.ts";
import { dispatch } from "../upstream/client.ts";
import { failureOfSender } from "./identity.ts";
import * as lifecycle from "./lifecycle.ts";
import { storeModerationBlock } from "./moderation-block.ts";
import type {
  ObjectImage,
  Progress,
  ProgressQuery,
  StartRequest,
  StartResponse,
} from "./protocol.ts";
import { completed, reserve, settle } from "./settlement.ts";
import { GenerationStorage, type StoredGeneration } from "./storage.ts";
import { Waiters } from "./waiters.ts";

/**
 * Owns the generation of one key, so that no client can cancel it. Its alarm calls the upstream. It stores
 * the images in SQLite before it wakes a client.
 *
 * It runs one generation at a time. Requests that arrive meanwhile join it.
 */
export class Generation extends DurableObject<object> {
  readonly #storage = new GenerationStorage(this.ctx.storage.sql);
  readonly #waiters = new Waiters();
  /** The id of the generation whose upstream call is in flight in this instance. */
  #dispatching: string | undefined;
  /** Resolves once it is known whether a generation may start. */
  #starting: Promise<void> | undefined;

  /**
   * Starts a generation, or joins the current one. Returns a failure if the accounts reject it.
   *
   * A failed generation is not joined: the next request starts another one. A moderation block is
   * returned for its first minute, until every location of KV has it.
   */
  async start(request: StartRequest): Promise<StartResponse> {
    // Concurrent starts wait for the accounts' decision. Then they join, or start their own if the first
    // one was rejected.
    while (this.#starting !== undefined) await this.#starting;
    const current = this.#joinable(request.maxAgeSeconds);
    if (current !== undefined) {
      const { keepSeconds } = request;
      if (keepSeconds > current.job.keepSeconds) {
        this.#storage.update(current.id, { job: { ...current.job, keepSeconds } });
      }
      return lifecycle.startResponse(current, true);
    }
    const block = lifecycle.recentModerationBlock(
      this.#storage.generations(),
      request.identity,
      Date.now(),
    );
    if (block !== undefined) return lifecycle.startResponse(block, true);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#starting = promise;
    try {
      return lifecycle.startResponse(await this.#start(request), false);
    } finally {
      this.#starting = undefined;
      resolve();
    }
  }

  /** Returns the new generation: queued, or failed if an account rejects it. */
  async #start(request: StartRequest): Promise<StoredGeneration> {
    const id = newIdInObject("gen", this.ctx.id.toString());
    const reservation = await reserve(configOf(this.env), id, request);
    const generation = lifecycle.newGeneration(id, request, reservation, nowSeconds());
    if (reservation.failure !== undefined) return generation;
    this.#storage.clear();
    this.#storage.save(generation);
    await this.ctx.storage.setAlarm(Date.now());
    return generation;
  }

  /**
   * Returns the completed generation if it is at most `maxAgeSeconds` old. Starts nothing. Version 0.1.0
   * calls this method by its name.
   *
   * @param orInProgress true to return one that is queued or in progress as well
   */
  async made(maxAgeSeconds: number, orInProgress = false): Promise<StartResponse | undefined> {
    while (this.#starting !== undefined) await this.#starting;
    const current = this.#joinable(maxAgeSeconds);
    if (current === undefined || (current.record === undefined && !orInProgress)) return undefined;
    return lifecycle.startResponse(current, true);
  }

  /**
   * Returns the progress of a generation as soon as there is news, or after `waitMs`. News is an unseen
   * partial image, or the end. Returns `undefined` if this object does not have the generation.
   */
  async progress(
    id: string,
    { seen, waitMs, withImages }: ProgressQuery,
  ): Promise<Progress | undefined> {
    const { generation, partials } = await this.#waiters.until(
      () => {
        this.#failOrphan();
        return { generation: this.#storage.byId(id), partials: this.#storage.partials(id, seen) };
      },
      ({ generation, partials }) =>
        generation === undefined || lifecycle.hasEnded(generation) || partials.length > 0,
      waitMs,
    );
    if (generation === undefined) return undefined;
    const progress = lifecycle.progressOf(generation, partials);
    if (!withImages || generation.state !== "done") return progress;
    const images = generation.slots.map((slot) => this.#storage.imageStream(id, slot));
    return { ...progress, images };
  }

  /** Returns one of the images, read one chunk at a time; `undefined` if this object does not have it. */
  image(id: string, index: number): ObjectImage | undefined {
    return this.#storage.image(id, index);
  }

  /** Returns one of the partial images by its slot; `undefined` if this object does not have it. */
  partialImage(id: string, slot: number): ReadableStream<Uint8Array> | undefined {
    return this.#storage.partialImage(id, slot);
  }

  /**
   * Deletes a completed generation, so that the next request regenerates it. A running one is left alone.
   * Version 0.1.0 calls this method by its name.
   *
   * @returns the deleted record and its request key in KV; `undefined` if nothing was deleted
   */
  forget(id: string): { key: string; record: GenerationRecord } | undefined {
    const current = this.#storage.current();
    if (current?.id !== id || current.record === undefined) return undefined;
    this.#storage.clear();
    return { key: current.job.key, record: current.record };
  }

  /** Performs the due steps: calls the upstream, settles the cost, copies to KV, deletes. */
  override async alarm(): Promise<void> {
    this.#failOrphan();
    const tried = new Set<string>();
    for (;;) {
      const step = lifecycle.nextStep(this.#storage.generations(), tried, Date.now());
      switch (step.kind) {
        case "stop":
          return;
        case "sleep":
          await this.ctx.storage.setAlarm(step.untilMs);
          return;
        case "delete":
          await this.ctx.storage.deleteAll();
          this.#storage.reset();
          return;
        case "dispatch":
          await this.#dispatch(step.generation);
          break;
        case "settle":
          await this.#settle(step.generation);
          break;
        case "copy":
          await this.#copy(step.generation);
          break;
      }
      tried.add(lifecycle.stepName(step.kind, step.generation));
    }
  }

  #joinable(maxAgeSeconds: number): StoredGeneration | undefined {
    this.#failOrphan();
    const current = this.#storage.current();
    if (current === undefined) return undefined;
    return lifecycle.isJoinable(current, maxAgeSeconds, nowSeconds()) ? current : undefined;
  }

  async #dispatch(generation: StoredGeneration): Promise<void> {
    const { id, job } = generation;
    this.#dispatching = id;
    const startedMs = Date.now();
    let request = fromStoredRequest(job.request);
    let failure: Failure | undefined;
    try {
      const config = configOf(this.env);
      // The model may have been retired since the generation was queued.
      request = { ...request, spec: withSuccessor(request.spec, config, startedMs) };
      const sent = { ...job, request: toStoredRequest(request) };
      this.#storage.save({ ...generation, job: sent, state: "dispatched" });
      const identified = await withSafetyIdentifier(request, job.payer.account, config);
      await this.#callUpstream(id, identified, config);
    } catch (error) {
      failure = failureOfSender(failureOf(error), job);
      if (failure.code === "internal_error") {
        log("error", "generation_broke", { id, ...errorFields(error) });
        // The request may have been sent, so a fault of our own may have been charged.
        failure = { code: "upstream_outcome_unknown" };
      }
      this.#fail(id, failure);
    } finally {
      this.#dispatching = undefined;
    }
    this.#logEnd(id, request, startedMs, failure);
    this.#waiters.wake();
    if (failure?.code === "moderation_blocked") {
      const config = configOf(this.env);
      await storeModerationBlock(job, failure, kvCache(config), config);
    }
  }

  async #callUpstream(id: string, request: ImageRequest, config: Config): Promise<void> {
    const generated = await dispatch(request, {
      config: config.upstream,
      localDevelopment: config.localDevelopment,
      sink: (slot, bytes) => this.#storage.writeImage(id, slot, bytes),
      onPartialImage: ({ index, image, resolved }) => {
        this.#storage.addPartial(id, { index, ...image, resolved, created: nowSeconds() });
        this.#waiters.wake();
      },
    });
    this.#storage.update(id, {
      state: "done",
      ...completed(id, request, generated, config),
      slots: generated.images.map((image) => image.slot),
      endedMs: Date.now(),
    });
  }

  #logEnd(
    id: string,
    { spec }: ImageRequest,
    startedMs: number,
    failure: Failure | undefined,
  ): void {
    const record = this.#storage.byId(id)?.record;
    log("info", "generation", {
      id,
      model: spec.upstreamModel,
      n: spec.n,
      upstream_ms: Date.now() - startedMs,
      cost_usd: record && costOfRecord(record, configOf(this.env)) / MICRO_PER_DOLLAR,
      error: failure?.code,
    });
  }

  #failOrphan(): void {
    const current = this.#storage.current();
    if (!lifecycle.isOrphaned(current, this.#dispatching)) return;
    this.#fail(current.id, { code: "upstream_outcome_unknown" });
    this.#waiters.wake();
  }

  #fail(id: string, failure: Failure): void {
    this.#storage.update(id, { state: "failed", failure, endedMs: Date.now() });
    this.#storage.deleteOldFailures();
  }

  #settle(generation: StoredGeneration): Promise<void> {
    return this.#attempt("settle", generation, async () => {
      await settle(configOf(this.env), generation);
      return { settled: true };
    });
  }

  #copy(generation: StoredGeneration): Promise<void> {
    const { id, job, record, slots } = generation;
    return this.#attempt("copy", generation, async () => {
      const readImage = (index: number) => this.#storage.readImage(id, slots[index]);
      if (record !== undefined) await kvCache(configOf(this.env)).store(job.key, record, readImage);
      return { copied: true, copiedMs: Date.now() };
    });
  }

  /** Performs a step and stores its changes, or the changes after a failure. */
  async #attempt(
    kind: keyof typeof FAILURE_EVENTS,
    generation: StoredGeneration,
    step: () => Promise<Partial<StoredGeneration>>,
  ): Promise<void> {
    const { id, attempts } = generation;
    try {
      this.#storage.update(id, await step());
    } catch (error) {
      log("error", FAILURE_EVENTS[kind], { id, attempt: attempts + 1, ...errorFields(error) });
      this.#storage.update(id, lifecycle.afterFailure(kind, generation, Date.now()));
    }
  }
}

/** The log events of a failed step. */
const FAILURE_EVENTS = { settle: "budget_settle_failed", copy: "cache_write_failed" };
