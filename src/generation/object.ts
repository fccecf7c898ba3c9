import { DurableObject } from "cloudflare:workers";
import { kvCache } from "../cache/cache.ts";
import { configOf } from "../config/environment.ts";
import type { GenerationRecord } from "../contract/record.ts";
import { nowSeconds } from "../lib/clock.ts";
import { newIdInObject } from "../lib/object-id.ts";
import { keyObject, type KeyObject } from "./client.ts";
import * as lifecycle from "./lifecycle.ts";
import { ObjectNotes } from "./notes.ts";
import type {
  ObjectImage,
  Progress,
  ProgressQuery,
  StartQuery,
  StartRequest,
  StartResponse,
} from "./protocol.ts";
import { RequestKeyRecord } from "./request-key-record.ts";
import { decideStart } from "./reservation.ts";
import { settle } from "./settlement.ts";
import { existingResponse, progressOf, rejectedStart, startResponse } from "./start-response.ts";
import { performStep, type ObjectParts } from "./steps.ts";
import { GenerationStorage, type StoredGeneration } from "./storage.ts";
import { Waiters } from "./waiters.ts";

/**
 * Owns the generation of one key, so that no client can cancel it. Its alarm calls the upstream. It stores
 * the images in SQLite before it wakes a client.
 *
 * It runs one generation at a time. Requests that arrive meanwhile join it. A completed one stays until it has
 * expired or is deleted: a request that does not accept it starts another one in another object.
 *
 * The object of a request key also writes the record under that key in KV, for itself and for others.
 */
export class Generation extends DurableObject<object> {
  readonly #storage = new GenerationStorage(this.ctx.storage.sql);
  readonly #notes = new ObjectNotes(this.ctx.storage.kv);
  readonly #keyRecord = new RequestKeyRecord(this.#notes);
  readonly #waiters = new Waiters();
  /** The id of the generation whose upstream call is in flight in this instance. */
  #dispatching: string | undefined;
  /** True while the alarm runs. */
  #isAwake = false;
  /** The start that this instance is deciding. */
  #starting: { id: string; decided: Promise<void> } | undefined;

  /**
   * Starts a generation, or joins the current one. Returns a failure if the accounts reject it, and the holder
   * of the Idempotency-Key if that is another generation.
   *
   * A failed generation is not joined: the next request starts another one. A moderation block is
   * returned for its first minute, until every location of KV has it.
   *
   * @param query how to wait for news of the generation; without it, returns at once
   */
  async start(request: StartRequest, query?: StartQuery): Promise<StartResponse> {
    // Concurrent starts wait for the decision. Then they join, or start their own if the first one was rejected.
    while (this.#starting !== undefined) await this.#starting.decided;
    const stored = { current: this.#current(), generations: () => this.#storage.generations() };
    const existing = existingResponse(stored, request, query?.isRetry ?? false, Date.now());
    if (existing !== undefined) await this.#keepAlarm(existing.id);
    const response = existing ?? (await this.#decide(request));
    const isPending = response.state === "queued" || response.state === "in_progress";
    if (query === undefined || response.isUnacceptable === true) return response;
    if (!isPending && response.record === undefined) return response;
    const progress = await this.progress(response.id, query);
    return { ...response, ...progress, collapsed: response.joined && isPending };
  }

  /** Decides whether a generation starts. */
  async #decide(request: StartRequest): Promise<StartResponse> {
    const id = newIdInObject("gen", this.ctx.id.toString());
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#starting = { id, decided: promise };
    try {
      return await this.#begin(id, request);
    } finally {
      // Decides whether a generation runs, releases, or deletes an object that stores nothing.
      await this.ctx.storage.setAlarm(Date.now());
      this.#starting = undefined;
      resolve();
    }
  }

  /** Queues a generation, unless an account or the Idempotency-Key rejects it. */
  async #begin(id: string, request: StartRequest): Promise<StartResponse> {
    const { payer, claim } = request;
    this.#notes.saveReserving({ id, payer, claim, attempts: 0 });
    await this.ctx.storage.setAlarm(Date.now() + lifecycle.RESERVING_MS);
    const decision = await decideStart(this.env, id, request);
    if (decision.kind !== "undecided") this.#notes.deleteReserving(id);
    if (decision.kind === "begun") {
      const generation = lifecycle.newGeneration(id, request, decision.amount, nowSeconds());
      this.#storage.save(generation);
      return startResponse(generation, false);
    }
    return rejectedStart(id, decision, nowSeconds());
  }

  /**
   * Returns the completed generation if it is at most `maxAgeSeconds` old. Starts nothing. Version 0.1.0
   * calls this method by its name.
   *
   * @param orInProgress true to return one that is queued or in progress as well
   */
  async made(maxAgeSeconds: number, orInProgress = false): Promise<StartResponse | undefined> {
    while (this.#starting !== undefined) await this.#starting.decided;
    const current = this.#current();
    if (current === undefined || (current.record === undefined && !orInProgress)) return undefined;
    const isAccepted = lifecycle.isJoinable(current, { maxAgeSeconds }, nowSeconds());
    return isAccepted ? startResponse(current, true) : undefined;
  }

  /**
   * Returns the progress of a generation as soon as there is news, or after `waitMs`. News is an unseen
   * partial image, or the end. Returns `undefined` if this object does not have the generation.
   */
  async progress(
    id: string,
    { seen, waitMs, withImages }: ProgressQuery,
  ): Promise<Progress | undefined> {
    if (this.#starting?.id === id) await this.#starting.decided;
    await this.#keepAlarm(id);
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
    const progress = progressOf(generation, partials);
    if (!withImages || generation.state !== "done") return progress;
    return { ...progress, images: this.#storage.images(generation) };
  }

  /** Returns the account of the caller that started a generation. */
  account(id: string): string | undefined {
    return this.#storage.byId(id)?.job.payer.account;
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
   * Deletes a completed generation, so that the next request regenerates it. One in progress is left alone. Its
   * images stay for ten minutes, for clients that are reading them. Version 0.1.0 calls this method by its name.
   *
   * @returns the deleted record and its request key in KV; `undefined` if nothing was deleted
   * @throws if its cost cannot be settled; then nothing is deleted
   */
  async forget(id: string): Promise<{ key: string; record: GenerationRecord } | undefined> {
    await this.#keepAlarm(id);
    const unsettled = this.#storage.current();
    if (unsettled?.id === id && unsettled.record !== undefined && !unsettled.settled) {
      // Its reservation would stay open.
      await settle(configOf(this.env), unsettled);
      this.#storage.update(id, { settled: true });
    }
    const current = this.#storage.current();
    if (current?.id !== id || current.record === undefined) return undefined;
    const { job, record } = current;
    this.#notes.saveTombstone(lifecycle.newTombstone(current, record, Date.now()));
    this.#storage.delete(id);
    await this.#wakeBy(Date.now());
    return { key: job.key, record };
  }

  /** Writes a record under the key of this object in KV, unless a newer one was written. */
  async publish(key: string, record: GenerationRecord): Promise<void> {
    await this.#keyRecord.write(key, record, kvCache(configOf(this.env)));
    await this.#wakeBy(Date.now() + lifecycle.MEMORY_MS);
  }

  /** Deletes the record under the key of this object in KV, unless it is that of another generation. */
  withdraw(key: string, id: string): Promise<void> {
    return this.#keyRecord.delete(key, id, kvCache(configOf(this.env)));
  }

  /** Performs the due steps: calls the upstream, settles the cost, copies to KV, deletes. */
  override async alarm(): Promise<void> {
    this.#isAwake = true;
    try {
      await this.#performSteps();
    } finally {
      this.#isAwake = false;
    }
  }

  async #performSteps(): Promise<void> {
    this.#failOrphan();
    const tried = new Set<string>();
    for (;;) {
      const step = lifecycle.nextStep(this.#state(), tried, Date.now());
      switch (step.kind) {
        case "stop":
          return;
        case "sleep":
        case "delete":
          // A start that is being decided sets the alarm itself, unless this instance dies.
          if (this.#starting !== undefined)
            return this.#wakeBy(Date.now() + lifecycle.RESERVING_MS);
          if (step.kind === "sleep") {
            await this.ctx.storage.setAlarm(step.untilMs);
          } else {
            await this.ctx.storage.deleteAll();
            this.#storage.reset();
          }
          return;
        default:
          await this.#perform(step);
          tried.add(lifecycle.stepName(step.kind, step.item));
      }
    }
  }

  async #perform(step: lifecycle.WorkStep): Promise<void> {
    if (step.kind !== "dispatch") return performStep(step, this.#parts());
    this.#dispatching = step.item.id;
    try {
      await performStep(step, this.#parts());
    } finally {
      this.#dispatching = undefined;
    }
  }

  #state(): lifecycle.ObjectState {
    return {
      generations: this.#storage.generations(),
      reserving: this.#notes.reserving().filter(({ id }) => id !== this.#starting?.id),
      tombstones: this.#notes.tombstones(),
      newest: this.#notes.newest(),
    };
  }

  #current(): StoredGeneration | undefined {
    this.#failOrphan();
    return this.#storage.current();
  }

  /** Sets the alarm, unless it is set for an earlier time. */
  async #wakeBy(timeMs: number): Promise<void> {
    const alarmMs = await this.ctx.storage.getAlarm();
    if (alarmMs === null || alarmMs > timeMs) await this.ctx.storage.setAlarm(timeMs);
  }

  /**
   * Sets the alarm of the current generation if it is lost, so that the generation ends: the platform gives up
   * an alarm that keeps failing.
   */
  async #keepAlarm(id: string): Promise<void> {
    if (this.#isAwake || this.#storage.current()?.id !== id) return;
    if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(Date.now());
  }

  #failOrphan(): void {
    const current = this.#storage.current();
    if (!lifecycle.isOrphaned(current, this.#dispatching)) return;
    this.#storage.fail(current.id, { code: "upstream_outcome_unknown" });
    this.#waiters.wake();
  }

  #parts(): ObjectParts {
    return {
      env: this.env,
      storage: this.#storage,
      notes: this.#notes,
      waiters: this.#waiters,
      objectOfKey: (key) => this.#objectOfKey(key),
    };
  }

  /** Returns the object that writes the record under a request key: this one, or another. */
  #objectOfKey(key: string): KeyObject {
    const config = configOf(this.env);
    const isOwn = config.generations.idFromName(key).equals(this.ctx.id);
    return isOwn ? this : keyObject(config, key);
  }
}
