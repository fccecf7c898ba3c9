import type { Config } from "../config/environment.ts";
import type { GenerationRecord } from "../contract/record.ts";
import { GatewayError } from "../errors/failure.ts";
import { objectIdOf } from "../lib/object-id.ts";
import { retryRpc } from "../lib/retry-rpc.ts";
import type { Job, PartialImage, Progress, ProgressQuery, StartResponse } from "./protocol.ts";
import type { Generation, ObjectImage } from "./object.ts";

/** What the object may need beyond the upstream's own time: to be started, and to store pictures. */
const GRACE_SECONDS = 60;

/** A generation in its object, as callers see it. */
export class GenerationClient {
  readonly id: string;
  readonly #objects: DurableObjectNamespace<Generation>;
  readonly #objectId: DurableObjectId;
  readonly #giveUpMs: number;

  constructor(config: Config, objectId: DurableObjectId, id: string) {
    this.id = id;
    this.#objects = config.generations;
    this.#objectId = objectId;
    this.#giveUpMs = Date.now() + (config.upstream.timeoutSeconds + GRACE_SECONDS) * 1000;
  }

  /**
   * How far it is, as soon as there is something new, or after the time
   * that the caller waits; `undefined` when the object does not have it.
   *
   * @throws {GatewayError} `upstream_outcome_unknown` when there was no end to it in all its time
   */
  async progress(query: ProgressQuery): Promise<Progress | undefined> {
    if (Date.now() > this.#giveUpMs) throw new GatewayError({ code: "upstream_outcome_unknown" });
    return retryRpc(() => this.#object().progress(this.id, query));
  }

  /** The bytes of one of its images. */
  image(index: number): Promise<ObjectImage | undefined> {
    return retryRpc(() => this.#object().image(this.id, index));
  }

  /**
   * The bytes of one of its partial images.
   *
   * @throws {GatewayError} `generation_not_found` when it is gone
   */
  async partialImage({ slot }: PartialImage): Promise<ReadableStream<Uint8Array>> {
    const body = await retryRpc(() => this.#object().partialImage(this.id, slot));
    if (body === undefined) throw new GatewayError({ code: "generation_not_found" });
    return body;
  }

  /** A stub is no good any more once its object has broken. */
  #object(): DurableObjectStub<Generation> {
    return this.#objects.get(this.#objectId);
  }

  /** Deletes it from its object. Returns it with its request key if it was completed. */
  forget(): Promise<{ key: string; record: GenerationRecord } | undefined> {
    return retryRpc(() => this.#object().forget(this.id));
  }
}

/** Which object makes a job. */
export type ObjectName =
  /** The one that everybody who asks for this shares. */
  | { shared: string }
  /** One that nobody else has. */
  | "fresh";

/**
 * Begins a job in its object, or joins it there.
 */
export async function startGeneration(
  config: Config,
  name: ObjectName,
  job: Job,
): Promise<{ started: StartResponse; handle: GenerationClient }> {
  const objects = config.generations;
  const objectId = name === "fresh" ? objects.newUniqueId() : objects.idFromName(name.shared);
  const started = await retryRpc(() => objects.get(objectId).start(job));
  return { started, handle: new GenerationClient(config, objectId, started.id) };
}

/**
 * Returns what the shared object of a key has completed, if that is not older than requested.
 *
 * @param orInProgress true to return one that is queued or in progress as well
 */
export async function lookupInObject(
  config: Config,
  key: string,
  maxAgeSeconds: number,
  orInProgress = false,
): Promise<{ started: StartResponse; handle: GenerationClient } | undefined> {
  const objects = config.generations;
  const objectId = objects.idFromName(key);
  const started = await retryRpc(() => objects.get(objectId).made(maxAgeSeconds, orInProgress));
  if (started === undefined) return undefined;
  return { started, handle: new GenerationClient(config, objectId, started.id) };
}

/** The generation of an id in the object that it leads back to; `undefined` when it is no such id. */
export function clientOf(config: Config, id: string): GenerationClient | undefined {
  const hex = objectIdOf("gen", id);
  if (hex === undefined) return undefined;
  try {
    return new GenerationClient(config, config.generations.idFromString(hex), id);
  } catch {
    // Well formed, and no id that this namespace has given out.
    return undefined;
  }
}
