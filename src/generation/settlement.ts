import {
  countUsage,
  releaseBudget,
  reserveBudget,
  settleBudget,
  type ChargedAccounts,
} from "../access/budget.ts";
import type { Config } from "../config/environment.ts";
import { costOf, costOfRecord, type Cost } from "../contract/pricing.ts";
import type { ImageSpec } from "../contract/request.ts";
import { fromStoredRequest } from "../contract/stored-request.ts";
import { mayHaveCharged, type Failure } from "../errors/failure.ts";
import type { StartRequest } from "./protocol.ts";
import { isCollapsed, type GenerationResult } from "./result.ts";
import type { StoredGeneration } from "./storage.ts";

/**
 * Reserves the upper bound of a generation's cost with every account that is charged.
 *
 * @returns the failure if an account rejects it; then none has a reservation
 * @throws if an account cannot be reached; then nothing may be spent either
 */
export function reserve(
  config: Config,
  id: string,
  request: StartRequest,
): Promise<Failure | undefined> {
  return reserveBudget(config, request.payer, id, costOfRequest(request, config).upperBound());
}

/**
 * Settles the reservation with the actual cost, or with the reserved amount if the cost is unknown.
 * Releases it if nothing was generated.
 *
 * @throws if an account cannot be reached; then the reservation stays open and counts as spent
 */
export async function settle(
  config: Config,
  { id, job, record, failure }: StoredGeneration,
): Promise<void> {
  const { payer, request } = job;
  const { upperBound, actual } = costOfRequest(job, config);
  const model = request.upstreamModel;
  if (record !== undefined) {
    const images = record.images.length;
    await settleBudget(config, payer, id, { spent: actual(record.usage, images), model, images });
  } else if (failure !== undefined && mayHaveCharged(failure)) {
    await settleBudget(config, payer, id, { spent: upperBound(), model, images: 0 });
  } else {
    await releaseBudget(config, payer, id);
  }
}

/**
 * Counts a request that cost nothing: a cache hit, or a request that joined a generation.
 *
 * @returns work that the runtime must stay alive for, if there is any
 */
export function recordSavings(
  result: GenerationResult,
  spec: ImageSpec,
  { caller }: ChargedAccounts,
  config: Config,
): Promise<void> | undefined {
  const { outcome } = result;
  const collapsed = isCollapsed(outcome);
  if (outcome.kind !== "hit" && !collapsed) return undefined;
  // A hit may be an image of the model that the request's model has replaced.
  const record = result.kind === "completed" ? result.record : undefined;
  return countUsage(config, {
    caller,
    model: record?.model ?? spec.upstreamModel,
    hits: collapsed ? 0 : 1,
    collapsed: collapsed ? 1 : 0,
    saved: record === undefined ? 0 : costOfRecord(record, config.prices),
  });
}

function costOfRequest({ request }: StartRequest, { prices }: Config): Cost {
  const { spec, upstream } = fromStoredRequest(request);
  return costOf(spec, upstream.partialImages, prices);
}
