import { DurableObject } from "cloudflare:workers";
import { formerPrincipal, type Caller } from "../access/caller.ts";
import type { Config } from "../config/environment.ts";
import { DAY_SECONDS } from "../lib/clock.ts";
import { objectClient } from "../lib/object-client.ts";
import type { RequestIdentity } from "./key.ts";

/** How long a key stays bound to its generation. */
export const IDEMPOTENCY_SECONDS = DAY_SECONDS;

/** The request that holds a key. Version 0.1.0 stored no fingerprint, and claimed a key before it started. */
interface StoredClaim {
  requestKey: string;
  fingerprint?: string;
  /** Its generation, once one is bound. */
  generationId?: string;
}

/** Stores which request and which generation hold an Idempotency-Key. */
export class IdempotencyKey extends DurableObject<object> {
  /** Returns the claim on the key; `undefined` if it is free. */
  read(): Promise<StoredClaim | undefined> {
    return this.ctx.storage.get<StoredClaim>("claim");
  }

  /**
   * Claims the key for a generation that is about to start; idempotent.
   *
   * @param replaces the generation that held the key, and failed or was deleted
   * @returns the claim that holds the key now, which may be another one
   */
  async hold(claim: Required<StoredClaim>, replaces?: string): Promise<StoredClaim> {
    const held = await this.read();
    const isFree =
      held === undefined ||
      (isOfRequest(held, claim) &&
        [undefined, replaces, claim.generationId].includes(held.generationId));
    if (!isFree) return held;
    await this.ctx.storage.put<StoredClaim>("claim", claim);
    await this.#expireLater();
    return claim;
  }

  /** Frees the key if the generation holds it, because it did not start. */
  async free(generationId: string): Promise<void> {
    const held = await this.read();
    if (held?.generationId === generationId) await this.#clear();
  }

  /** Claims the key for a request. Version 0.1.0 calls this method before it starts a generation. */
  async claim(requestKey: string, fingerprint: string): Promise<StoredClaim> {
    const held = await this.read();
    if (held !== undefined) return held;
    await this.bind(requestKey, undefined, fingerprint);
    return { requestKey, fingerprint };
  }

  /** Binds the key to a generation. Version 0.1.0 calls this method after it has started one. */
  async bind(
    requestKey: string,
    generationId: string | undefined,
    fingerprint: string,
  ): Promise<void> {
    const bound = generationId === undefined ? {} : { generationId };
    await this.ctx.storage.put<StoredClaim>("claim", { requestKey, ...bound, fingerprint });
    // The claim may have expired before its generation has started.
    if ((await this.ctx.storage.getAlarm()) === null) await this.#expireLater();
  }

  override alarm(): Promise<void> {
    return this.#clear();
  }

  async #expireLater(): Promise<void> {
    await this.ctx.storage.setAlarm(Date.now() + IDEMPOTENCY_SECONDS * 1000);
  }

  async #clear(): Promise<void> {
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }
}

/** An Idempotency-Key, and the request that a client sends with it. Generation objects store it. */
export interface KeyClaim extends RequestIdentity {
  /** The name of the key's Durable Object. */
  name: string;
  /** Its name in version 0.1.0, if other callers could use it too. */
  formerName?: string | undefined;
  /** The generation that held the key, and failed or was deleted. */
  replaces?: string | undefined;
}

/** The state of an Idempotency-Key for a request. */
export type KeyState =
  | { kind: "free" }
  /** A generation of the same request holds it. */
  | { kind: "held"; generationId: string }
  /** Another request holds it. */
  | { kind: "reused" };

/** Returns the claim of a request on an Idempotency-Key. Claims nothing yet. */
export function claimOf(
  caller: Caller,
  idempotencyKey: string,
  identity: RequestIdentity,
): KeyClaim {
  const name = `${caller.principal}/${idempotencyKey}`;
  const former = formerPrincipal(caller);
  return former === undefined
    ? { name, ...identity }
    : { name, formerName: `${former}/${idempotencyKey}`, ...identity };
}

/** The state of a request's key without a holder. */
export const FREE: KeyState = { kind: "free" };

/** Returns the state of a request's Idempotency-Key. Claims nothing. */
export async function keyState(config: Config, claim: KeyClaim): Promise<KeyState> {
  const held = await objectOf(config, claim).read();
  if (held === undefined) return FREE;
  if (!isOfRequest(held, claim)) return { kind: "reused" };
  const { generationId } = held;
  return generationId === undefined ? FREE : { kind: "held", generationId };
}

/**
 * Claims an Idempotency-Key for a generation that is about to start.
 *
 * @returns `free` if the generation holds it now
 */
export async function holdKey(
  config: Config,
  claim: KeyClaim,
  generationId: string,
): Promise<KeyState> {
  const { requestKey, fingerprint, replaces } = claim;
  const wanted = { requestKey, fingerprint, generationId };
  const held = await objectOf(config, claim).hold(wanted, replaces);
  if (!isOfRequest(held, claim)) return { kind: "reused" };
  if (held.generationId === undefined || held.generationId === generationId) {
    return FREE;
  }
  return { kind: "held", generationId: held.generationId };
}

/** Frees an Idempotency-Key whose generation did not start; idempotent. */
export async function freeKey(
  config: Config,
  claim: KeyClaim,
  generationId: string,
): Promise<void> {
  await objectOf(config, claim).free(generationId);
}

/** Returns true if a claim is that of the same request. */
function isOfRequest(held: StoredClaim, { requestKey, fingerprint }: RequestIdentity): boolean {
  return held.fingerprint === undefined
    ? held.requestKey === requestKey
    : held.fingerprint === fingerprint;
}

function objectOf({ idempotencyKeys }: Config, { name }: KeyClaim) {
  return objectClient(idempotencyKeys, idempotencyKeys.idFromName(name));
}
