import type { ResponseFormat } from "../contract/models.ts";
import { GatewayError, mayHaveCharged } from "../errors/failure.ts";
import { lookupCachedById } from "./cache-lookup.ts";
import { clientOf, type GenerationClient } from "./client.ts";
import type { GenerationContext } from "./context.ts";
import { FREE, keyState, type KeyClaim, type KeyState } from "./idempotency.ts";
import { WITHOUT_WAITING, type Progress, type StartResponse } from "./protocol.ts";
import { completedGeneration, hitOutcome, type GenerationResult } from "./result.ts";

/**
 * Returns the generation of an id, from KV or from its Durable Object; `undefined` if neither has it.
 *
 * @param format how its images are delivered; the model's default if absent
 * @throws {GatewayError} the failure of the generation
 */
export async function lookupById(
  id: string,
  format: ResponseFormat | undefined,
  context: GenerationContext,
): Promise<GenerationResult | undefined> {
  const { config, event } = context;
  const cached = await event.time("cache", () => lookupCachedById(id, format, context));
  if (cached !== undefined) return cached;
  const client = clientOf(config, id);
  const progress = await client?.progress(WITHOUT_WAITING);
  if (client === undefined || progress === undefined) return undefined;
  return resultOfProgress(progress, client, context, "miss");
}

/**
 * Returns the state of a request's Idempotency-Key.
 *
 * Callers could share a key that version 0.1.0 stored. It counts if its generation was charged to the same
 * account. Otherwise it is free, because another caller may have claimed it.
 *
 * @param account of the caller
 */
export async function keyStateOf(
  claim: KeyClaim,
  account: string,
  { config }: GenerationContext,
): Promise<KeyState> {
  const [state, former] = await Promise.all([
    keyState(config, claim),
    claim.formerName === undefined ? FREE : keyState(config, { ...claim, name: claim.formerName }),
  ]);
  if (state.kind !== "free" || former.kind !== "held") return state;
  const chargedTo = await clientOf(config, former.generationId)?.account();
  return chargedTo === account ? former : FREE;
}

/**
 * Returns the generation that holds the Idempotency-Key. If that generation failed, the request may start
 * another one only if that cannot pay twice.
 *
 * @throws {GatewayError} `idempotency_key_reused` if another request holds it
 */
export async function lookupBound(
  key: KeyState,
  format: ResponseFormat,
  context: GenerationContext,
): Promise<GenerationResult | undefined> {
  if (key.kind === "reused") throw new GatewayError({ code: "idempotency_key_reused" });
  if (key.kind === "free") return undefined;
  try {
    return await lookupById(key.generationId, format, context);
  } catch (error) {
    if (error instanceof GatewayError && !mayHaveCharged(error.failure)) return undefined;
    throw error;
  }
}

/**
 * Returns the result for a request that did not start the generation. One that ended while the request waited
 * is pending still: the client has its end.
 *
 * @throws {GatewayError} the failure of the generation
 */
export function resultOfProgress(
  progress: Progress & Pick<StartResponse, "collapsed">,
  client: GenerationClient,
  { config }: GenerationContext,
  kind: "miss" | "bypass",
): GenerationResult {
  const { record, failure, images, created, state, collapsed = false } = progress;
  if (failure !== undefined && !collapsed) throw new GatewayError(failure);
  if (record === undefined || collapsed) {
    const outcome = { kind, collapsed: true, stored: false };
    return { kind: "pending", isRunning: state === "in_progress", created, client, outcome };
  }
  return completedGeneration({ record, images }, client, hitOutcome(record, config));
}
