import type { Config } from "../config/environment.ts";
import type { GenerationRecord } from "../contract/record.ts";
import { GatewayError, type Failure } from "../errors/failure.ts";
import { durableIdOf } from "../lib/object-id.ts";
import { callObject, CALL_MS, objectClient } from "../lib/object-client.ts";
import {
  DELETE_MS,
  START_MS,
  WITHOUT_PARTIALS,
  WRITE_RECORD_MS,
  type ObjectImage,
  type PartialImage,
  type Progress,
  type ProgressQuery,
  type StartRequest,
  type StartResponse,
} from "./protocol.ts";

/** The time that a generation may take beyond the upstream's timeout. */
const GRACE_SECONDS = 60;

/** News of a generation, in order. */
export type GenerationUpdate =
  /** Nothing new for one poll. */
  | { kind: "waiting" }
  | { kind: "partial"; partial: PartialImage }
  /** The last one. */
  | ({ kind: "completed" } & Completion);

/** A completed generation, as its Durable Object returns it. */
export interface Completion {
  record: GenerationRecord;
  /** The opened images, if the object has sent them. */
  images: Progress["images"];
}

/** How to wait for the updates of a generation. */
export interface UpdateOptions {
  /** True if partial images are included, the earlier ones first. */
  partialImages: boolean;
  /** True if the images will be read. */
  withImages: boolean;
  /** How long to wait for the end. */
  waitMs: number;
  /** How long one call to the Durable Object waits for news. */
  pollMs: number;
}

/** Calls the Durable Object of one generation. */
export class GenerationClient {
  readonly id: string;
  readonly #config: Config;
  readonly #objectId: DurableObjectId;
  readonly #deadlineMs: number;
  /** The progress that the start has returned, until it is used. */
  #first: Progress | undefined;

  /** @param first the progress that is known already, as `updates` would query it */
  constructor(config: Config, objectId: DurableObjectId, id: string, first?: Progress) {
    this.id = id;
    this.#config = config;
    this.#objectId = objectId;
    this.#first = first;
    this.#deadlineMs = Date.now() + (config.upstream.timeoutSeconds + GRACE_SECONDS) * 1000;
  }

  /**
   * Returns the progress as soon as there is news, or after `waitMs`; `undefined` if the object does not
   * have the generation.
   *
   * @throws {GatewayError} `upstream_outcome_unknown` if this client has waited longer than a generation may
   *   take
   */
  async progress(query: ProgressQuery): Promise<Progress | undefined> {
    if (Date.now() > this.#deadlineMs) {
      throw new GatewayError({ code: "upstream_outcome_unknown" });
    }
    return this.#object(query.waitMs + CALL_MS).progress(this.id, query);
  }

  /**
   * Waits for the generation and yields its updates. Ends after `completed`, or without it after `waitMs`.
   *
   * @throws {GatewayError} the failure of the generation; `generation_not_found` if it was deleted
   */
  async *updates(options: UpdateOptions): AsyncGenerator<GenerationUpdate, void> {
    const { partialImages, withImages, waitMs, pollMs } = options;
    const untilMs = Date.now() + waitMs;
    let seen = partialImages ? 0 : WITHOUT_PARTIALS;
    for (;;) {
      const remainingMs = Math.max(0, untilMs - Date.now());
      const query = { seen, waitMs: Math.min(remainingMs, pollMs), withImages };
      const progress = this.#takeFirst() ?? (await this.progress(query));
      if (progress === undefined) throw new GatewayError({ code: "generation_not_found" });
      for (const partial of progress.partials) {
        yield { kind: "partial", partial };
        seen += 1;
      }
      if (progress.failure !== undefined) throw new GatewayError(progress.failure);
      const { record, images } = progress;
      if (record !== undefined) {
        yield { kind: "completed", record, images };
        return;
      }
      if (Date.now() >= untilMs) return;
      if (progress.partials.length === 0) yield { kind: "waiting" };
    }
  }

  #takeFirst(): Progress | undefined {
    const first = this.#first;
    this.#first = undefined;
    return first;
  }

  /** Returns the bytes of one of its images. */
  image(index: number): Promise<ObjectImage | undefined> {
    return this.#object().image(this.id, index);
  }

  /**
   * Returns the bytes of one of its partial images.
   *
   * @throws {GatewayError} `generation_not_found` if it was deleted
   */
  async partialImage({ slot }: PartialImage): Promise<ReadableStream<Uint8Array>> {
    const body = await this.#object().partialImage(this.id, slot);
    if (body === undefined) throw new GatewayError({ code: "generation_not_found" });
    return body;
  }

  /** Returns the account of the caller that started it; `undefined` if the object does not have it. */
  account(): Promise<string | undefined> {
    return this.#object().account(this.id);
  }

  /** Deletes it from its object. Returns it with its request key if it had completed. */
  delete(): Promise<{ key: string; record: GenerationRecord } | undefined> {
    return this.#object(DELETE_MS).forget(this.id);
  }

  #object(limitMs = CALL_MS) {
    return objectClient(this.#config.generations, this.#objectId, limitMs);
  }
}

/** The attempts to start, and the pause between them, while the caller has too many generations in progress. */
const TURN_ATTEMPTS = 60;
const TURN_PAUSE_MS = 1000;

/**
 * How many objects a start tries whose generation it does not accept, one after the other. After them it
 * starts in a new one.
 */
const MAX_OBJECTS = 5;

/**
 * Starts a generation in its Durable Object, or joins the current one. If the request does not accept the one
 * that the object has, tries the object that is named after that one. So all requests that do not accept it
 * share one generation, and nothing that was paid for is replaced before its successor exists.
 *
 * @param name of the object; `undefined` for a new one
 * @param waitsForTurn true to retry while the caller has too many generations in progress or a minute
 * @param query how the start waits for news of the generation
 */
export async function startGeneration(
  config: Config,
  name: string | undefined,
  request: StartRequest,
  { waitsForTurn, query }: { waitsForTurn: boolean; query: ProgressQuery },
): Promise<{ started: StartResponse; client: GenerationClient }> {
  const objects = config.generations;
  let objectId = name === undefined ? objects.newUniqueId() : objects.idFromName(name);
  let tries = 1;
  let turns = waitsForTurn ? TURN_ATTEMPTS : 1;
  for (;;) {
    const attempted = { ...request, attempt: crypto.randomUUID() };
    const started = await callObject(
      objects,
      objectId,
      (object, isRetry) => object.start(attempted, { ...query, isRetry }),
      query.waitMs + START_MS,
    );
    if (started.isUnacceptable === true) {
      const next = `${request.key}/${started.id}`;
      objectId = tries < MAX_OBJECTS ? objects.idFromName(next) : objects.newUniqueId();
      tries += 1;
      continue;
    }
    turns -= 1;
    if (!mayHaveATurn(started.failure) || turns === 0) {
      return { started, client: new GenerationClient(config, objectId, started.id, started) };
    }
    await scheduler.wait(TURN_PAUSE_MS);
  }
}

/** Returns true if the limit that rejected a generation may allow it within a minute. */
function mayHaveATurn(failure: Failure | undefined): boolean {
  return (
    failure?.code === "rate_limit_exceeded" &&
    ["concurrency", "reserved", "generations"].includes(failure.reason)
  );
}

/** The generation that a lookup accepts. */
export interface ObjectLookup {
  /** The maximum age of a completed generation. */
  maxAgeSeconds: number;
  /** True if one that is queued or in progress is accepted as well. */
  orInProgress: boolean;
}

/** Returns the generation of a key from its Durable Object; `undefined` without an acceptable one. */
export async function lookupInObject(
  config: Config,
  key: string,
  { maxAgeSeconds, orInProgress }: ObjectLookup,
): Promise<{ found: StartResponse; client: GenerationClient } | undefined> {
  const objects = config.generations;
  const objectId = objects.idFromName(key);
  const found = await objectClient(objects, objectId, START_MS).made(maxAgeSeconds, orInProgress);
  if (found === undefined) return undefined;
  return { found, client: new GenerationClient(config, objectId, found.id) };
}

/** The object that writes the record under a request key in KV, for all generations of the key. */
export interface KeyObject {
  /** Writes a record under the key, unless a newer one was written. */
  publish(key: string, record: GenerationRecord): Promise<void>;
  /** Deletes the record under the key, unless it is that of another generation. */
  withdraw(key: string, id: string): Promise<void>;
}

/** Returns the client of the object of a request key. */
export function keyObject({ generations }: Config, key: string): KeyObject {
  return objectClient(generations, generations.idFromName(key), WRITE_RECORD_MS);
}

/** Returns the client of the Durable Object that an id belongs to; `undefined` for another kind of id. */
export function clientOf(config: Config, id: string): GenerationClient | undefined {
  const objectId = durableIdOf(config.generations, "gen", id);
  return objectId === undefined ? undefined : new GenerationClient(config, objectId, id);
}
