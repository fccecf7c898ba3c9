import { DurableObject } from "cloudflare:workers";
import type { Config } from "../config/environment.ts";
import { GatewayError } from "../errors/failure.ts";
import { retryRpc } from "../lib/retry-rpc.ts";
import type { RequestIdentity } from "./key.ts";

/** How long a key means the same generation. */
export const IDEMPOTENCY_SECONDS = 24 * 60 * 60;

/** What identifies the first request that came with a key; version 0.1.0 stored no fingerprint. */
interface Claim {
  requestKey: string;
  fingerprint?: string;
  /** Its generation, once there is one. */
  generationId?: string;
}

/** What an Idempotency-Key stands for: one request, and the generation that answers it. */
export class IdempotencyKey extends DurableObject<object> {
  /** Takes the key for a request, unless another has it. */
  async claim(requestKey: string, fingerprint: string): Promise<Claim> {
    const claim = await this.ctx.storage.get<Claim>("claim");
    if (claim !== undefined) return claim;
    await this.ctx.storage.put<Claim>("claim", { requestKey, fingerprint });
    await this.ctx.storage.setAlarm(Date.now() + IDEMPOTENCY_SECONDS * 1000);
    return { requestKey, fingerprint };
  }

  /** Says which generation answers the request. */
  async bind(requestKey: string, generationId: string, fingerprint: string): Promise<void> {
    await this.ctx.storage.put<Claim>("claim", { requestKey, generationId, fingerprint });
  }

  override async alarm(): Promise<void> {
    await this.ctx.storage.deleteAll();
  }
}

/** One use of an Idempotency-Key. */
export interface Idempotency {
  /** The name of the object that makes what nobody else may share. */
  name: string;
  /** The generation that the key stands for by now. */
  generationId: string | undefined;
  bind(generationId: string): Promise<void>;
}

/**
 * Claims an Idempotency-Key for a request.
 *
 * @param principal whose key it is: two callers may choose the same
 * @throws {GatewayError} `idempotency_key_reused` when it stands for another request
 */
export async function claimIdempotencyKey(
  config: Config,
  principal: string,
  idempotencyKey: string,
  { requestKey, fingerprint }: RequestIdentity,
): Promise<Idempotency> {
  const objects = config.idempotencyKeys;
  const name = `${principal}/${idempotencyKey}`;
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
