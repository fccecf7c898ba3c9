import {
  releaseBudget,
  reserveBudget,
  settleBudget,
  type ChargedAccounts,
  type Reservation,
} from "../access/accounts.ts";
import { countUsage } from "../access/usage-counts.ts";
import type { Config } from "../config/environment.ts";
import { costOf, costOfRecord, type Cost } from "../contract/pricing.ts";
import type { ImageSpec } from "../contract/image-spec.ts";
import { rulesOf } from "../contract/models.ts";
import { newRecord, type GeneratedImages } from "../contract/record.ts";
import type { ImageRequest } from "../contract/request.ts";
import { outputFormats } from "../contract/request-body.ts";
import { fromStoredRequest } from "../contract/stored-request.ts";
import { mayHaveCharged, type Failure } from "../errors/failure.ts";
import { nowSeconds } from "../lib/clock.ts";
import { errorFields, log } from "../telemetry/log.ts";
import type { StartRequest } from "./protocol.ts";
import { isCollapsed, type GenerationResult } from "./result.ts";
import type { StoredGeneration } from "./storage.ts";

/**
 * Reserves the upper bound of a generation's cost with every account that is charged.
 *
 * @returns the reserved amount, or the failure if an account rejects it; then none has a reservation
 * @throws if an account cannot be reached; then nothing may be spent either
 */
export async function reserve(
  config: Config,
  id: string,
  { request: stored, payer }: StartRequest,
): Promise<Reservation> {
  const request = fromStoredRequest(stored);
  const failure = unpricedFailure(request, config);
  if (failure !== undefined) return { failure };
  const { upperBound, tokenBound } = costOfRequest(request, config);
  return reserveBudget(config, payer, id, upperBound(), tokenBound());
}

/** Rejects an SVG if no model is priced any more that may write it. The request may have waited for days. */
function unpricedFailure({ spec }: ImageRequest, { svgModels }: Config): Failure | undefined {
  if (spec.options?.output_format !== "svg" || svgModels.size > 0) return undefined;
  const allowed = outputFormats(rulesOf(spec), svgModels);
  return { code: "invalid_value", param: "output_format", allowed, variable: "SVG_MODELS" };
}

/** Returns the record of a generation that the upstream has completed, and the tokens to remember. */
export function completed(
  id: string,
  request: ImageRequest,
  generated: GeneratedImages,
  config: Config,
): Pick<StoredGeneration, "record" | "reported"> {
  const { actual, reportedTokens } = costOfRequest(request, config);
  // An image that is not accepted was charged nevertheless.
  const reported = { ...generated, images: generated.returned };
  const record = newRecord(id, request.spec, generated, actual(reported), nowSeconds());
  return { record, reported: reportedTokens(reported) };
}

/**
 * Settles the reservation with the actual cost, or with the reserved amount if the cost is unknown. The
 * operator may release the latter. Releases it if nothing was generated.
 *
 * @throws if an account cannot be reached; then the reservation stays open and counts as spent
 */
export async function settle(
  config: Config,
  { id, job, reserved, record, reported, failure }: StoredGeneration,
): Promise<void> {
  const { payer, request } = job;
  const model = request.upstreamModel;
  if (record !== undefined) {
    const spent = costOfRecord(record, config);
    const images = record.images.length;
    await settleBudget(config, payer, id, { spent, model, images, reported });
  } else if (failure !== undefined && mayHaveCharged(failure)) {
    const { upperBound } = costOfRequest(fromStoredRequest(request), config);
    const spent = reserved ?? upperBound();
    await settleBudget(config, payer, id, { spent, model, images: 0, isUncertain: true });
  } else {
    const isModerationBlock = failure?.code === "moderation_blocked";
    await releaseBudget(config, payer, id, { isModerationBlock });
  }
}

/**
 * Counts a request that cost nothing: a cache hit, or a request that joined a generation.
 *
 * @returns work that the runtime must stay alive for, if there is any. It never rejects
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
  const write = countUsage(config, {
    caller,
    model: record?.model ?? spec.upstreamModel,
    hits: collapsed ? 0 : 1,
    collapsed: collapsed ? 1 : 0,
    saved: record === undefined ? 0 : costOfRecord(record, config),
  });
  return write?.catch((error: unknown) => log("error", "usage_write_failed", errorFields(error)));
}

function costOfRequest({ spec, upstream }: ImageRequest, config: Config): Cost {
  return costOf(spec, upstream.partialImages, config);
}
