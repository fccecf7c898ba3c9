import { releaseBudget } from "../access/accounts.ts";
import { configOf, type Config } from "../config/environment.ts";
import { failureOf } from "../errors/failure.ts";
import { errorFields, log } from "../telemetry/log.ts";
import { FREE, freeKey, holdKey } from "./idempotency.ts";
import { afterFailedRelease } from "./lifecycle.ts";
import type { Decision, ObjectNotes, Reserving } from "./notes.ts";
import type { StartRequest } from "./protocol.ts";
import { reserve } from "./settlement.ts";

/**
 * Reserves the upper bound of a generation's cost with every account, and claims its Idempotency-Key at the
 * same time. If one of them refuses, releases the others.
 *
 * Never throws: the Worker would repeat the start. Only a call to an object that died is repeated.
 */
export async function decideStart(
  env: object,
  id: string,
  request: StartRequest,
): Promise<Decision> {
  try {
    return await reserveAndClaim(configOf(env), id, request);
  } catch (error) {
    log("error", "start_broke", { id, ...errorFields(error) });
    return { kind: "undecided", failure: failureOf(error) };
  }
}

async function reserveAndClaim(
  config: Config,
  id: string,
  request: StartRequest,
): Promise<Decision> {
  const { claim, payer } = request;
  // Both have ended before anything is released.
  const [key, reservation] = await settledAll(
    claim === undefined ? Promise.resolve(FREE) : holdKey(config, claim, id),
    reserve(config, id, request),
  );
  if (key.kind !== "free") {
    if (reservation.failure === undefined) {
      await releaseBudget(config, payer, id, { isUnstarted: true });
    }
    return key.kind === "held"
      ? key
      : { kind: "refused", failure: { code: "idempotency_key_reused" } };
  }
  if (reservation.failure !== undefined) {
    if (claim !== undefined) await freeKey(config, claim, id);
    return { kind: "refused", failure: reservation.failure };
  }
  return { kind: "begun", amount: reservation.amount };
}

/** Waits for both promises, and throws only after both have settled. */
async function settledAll<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([a, b]);
  return Promise.all([a, b]);
}

/**
 * Releases everything that the start of an earlier instance may have reserved; idempotent. Retries ten times
 * by alarm, also after an invalid configuration.
 */
export async function releaseStart(
  env: object,
  reserving: Reserving,
  notes: ObjectNotes,
): Promise<void> {
  const { id, payer, claim } = reserving;
  try {
    const config = configOf(env);
    await Promise.all([
      // It has not begun, so it does not count as a start.
      releaseBudget(config, payer, id, { isUnstarted: true }),
      claim === undefined ? undefined : freeKey(config, claim, id),
    ]);
    notes.deleteReserving(id);
  } catch (error) {
    log("error", "budget_release_failed", { id, ...errorFields(error) });
    const next = afterFailedRelease(reserving);
    if (next === undefined) notes.deleteReserving(id);
    else notes.saveReserving(next);
  }
}
