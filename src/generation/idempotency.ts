import { DurableObject } from "cloudflare:workers";
import type { Config } from "../config/environment.ts";
import { GatewayError } from "../errors/failure.ts";
import { DAY_SECONDS } from "../lib/clock.ts";
import { retryRpc } from "../lib/retry-rpc.ts";
import type { RequestIdentity } from "./key.ts";

/** How long a key stays bound to its generation. */
export const IDEMPOTENCY_SECONDS = DAY_SECONDS;

/** The first request with a key. Version 0.1.0 stored no fingerprint. */
interface StoredClaim {
  requestKey: string;
  fingerprint?: string;
  /** Its generation, once one is bound. */
  generationId?: string;
}

/** Stores which request and which generation an Idempotency-Key is bound to. */
export class IdempotencyKey extends DurableObject<object> {
  /** Claims the key for a request. Returns the claim, which may be that of another request. */
  async claim(requestKey: string, fingerprint: string): Promise<StoredClaim> {
    const claim = await this.ctx.storage.get<StoredClaim>("claim");
    if (claim !== undefined) return claim;
    await this.ctx.storage.put<StoredClaim>("claim", { requestKey, fingerprint });
    await this.ctx.storage.setAlarm(Date.now() + IDEMPOTENCY_SECONDS * 1000);
    return { requestKey, fingerprint };
  }

  async bind(requestKey: string, generationId: string, fingerprint: string): Promise<void> {
    await this.ctx.storage.put<StoredClaim>("claim", { requestKey, generationId, fingerprint });
  }

  override async alarm(): Promise<void> {
    await this.ctx.storage.deleteAll();
  }
}

/** The claim of a request on an Idempotency-Key. */
export interface IdempotencyClaim {
  /** The name of the Durable Object for a generation that no other request shares. */
  name: string;
  /** The generation that the key is bound to. */
  generationId: string | undefined;
  bind(generationId: string): Promise<void>;
}

/**
 * Claims an Idempotency-Key for a request.
 *
 * @param namespace of the caller: two callers may choose the same key
 * @throws {GatewayError} `idempotency_key_reused` if another request has claimed it
 */
export async function claimIdempotencyKey(
  config: Config,
  namespace: string,
  idempotencyKey: string,
  { requestKey, fingerprint }: RequestIdentity,
): Promise<IdempotencyClaim> {
  const objects = config.idempotencyKeys;
  const name = `${namespace}/${idempotencyKey}`;
  const objectId = objects.idFromName(name);
  const claim = await retryRpc(() => objects.get(objectId).claim(requestKey, fingerprint));
  const isSame =
    claim.fingerprint === undefined
      ? claim.requestKey === requestKey
      : claim.fingerprint === fingerprint;
  if (!isSame) throw new GatewayError({ code: "idempotency_key_reused" });
  return {
    name: `idempotent/${name}`,
    generationId: claim.generationId,
    bind: (generationId) =>
      retryRpc(() => objects.get(objectId).bind(requestKey, generationId, fingerprint)),
  };
}
