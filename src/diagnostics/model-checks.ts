import type { Config } from "../config/environment.ts";
import { servedModel } from "../contract/catalog.ts";
import type { DiagnosticCheck } from "../contract/diagnostics.ts";
import {
  isShutDown,
  replacementOf,
  retirementOf,
  successorAt,
  withdrawalAt,
  type Retirement,
} from "../contract/retirement.ts";
import type { ModelListing } from "../upstream/models.ts";

/**
 * Checks the default model: whether the upstream lists it, and whether OpenAI shuts it down.
 *
 * @param nowMs milliseconds since the epoch
 */
export function modelCheck(listing: ModelListing, config: Config, nowMs: number): DiagnosticCheck {
  const name = "model";
  const { defaultModel, upstream } = config;
  const model = servedModel(config, defaultModel);
  if (model === undefined) throw new Error("the configuration does not serve its default model");
  const withdrawal = withdrawalAt(model, upstream, nowMs);
  if (withdrawal !== undefined) {
    const detail = `the default is ${defaultModel}: ${shutdownOf(withdrawal, nowMs)}, so a request without a model fails`;
    return { name, ok: false, detail, cure: `Set DEFAULT_MODEL = "${withdrawal.successor}".` };
  }
  const id = successorAt(model, upstream, nowMs) ?? model.upstreamId;
  if (listing.kind === "listed" && !listing.ids.includes(id)) {
    const fix = `Set DEFAULT_MODEL, or MODEL_ALIASES = "${defaultModel}=…", to a model that the upstream lists.`;
    return { name, ok: false, detail: `the upstream does not list ${id}`, cure: fix };
  }
  const listed = listing.kind === "listed" ? "the upstream lists it" : "not checked upstream";
  const replacement = replacementOf(model, upstream);
  if (replacement !== undefined) {
    const { successor } = replacement;
    const detail = `the default is ${defaultModel}: ${shutdownOf(replacement, nowMs)}, and from that day on ${successor} is sent in its place (${id}: ${listed})`;
    const fix = `Nothing fails. Set DEFAULT_MODEL = "${successor}" when your clients are ready for its parameters and prices.`;
    return { name, ok: true, warning: true, detail, cure: fix };
  }
  const retirement = model.isAlias ? undefined : retirementOf(id);
  const retired = retirement === undefined ? "" : `; ${shutdownOf(retirement, nowMs)}`;
  const detail = `the default is ${id}: ${listed}${retired}`;
  if (retirement === undefined || !upstream.isOpenAi) return { name, ok: true, detail };
  const fix = `Remove RETIRED_MODELS = "keep", or set DEFAULT_MODEL = "${retirement.successor}".`;
  return { name, ...statusOf(isShutDown(retirement, nowMs)), detail, cure: fix };
}

/**
 * Checks for aliases of models that OpenAI shuts down, because an alias is never replaced.
 *
 * @param nowMs milliseconds since the epoch
 */
export function aliasesCheck({ models, upstream }: Config, nowMs: number): DiagnosticCheck {
  const name = "aliases";
  const aliases = [...models.values()]
    .filter(({ isAlias }) => isAlias)
    .map(({ id, upstreamId }) => ({ id, upstreamId, retirement: retirementOf(upstreamId) }));
  const affected = aliases.flatMap(({ retirement, ...alias }) =>
    retirement === undefined || !upstream.isOpenAi ? [] : [{ ...alias, retirement }],
  );
  if (affected.length === 0) {
    return { name, ok: true, detail: "no alias of a model that OpenAI shuts down" };
  }
  const details = affected.map(
    ({ id, upstreamId, retirement }) =>
      `${id} is sent as ${upstreamId}: ${shutdownOf(retirement, nowMs)}`,
  );
  const pairs = aliases.map(
    ({ id, upstreamId, retirement }) => `${id}=${retirement?.successor ?? upstreamId}`,
  );
  const fix = `Set MODEL_ALIASES = "${pairs.join(",")}".`;
  const isFailing = affected.some(({ retirement }) => isShutDown(retirement, nowMs));
  return { name, ...statusOf(isFailing), detail: details.join("; "), cure: fix };
}

/** Returns a warning before the shutdown, and a failure from then on. */
function statusOf(isFailing: boolean): { ok: boolean; warning?: true } {
  return isFailing ? { ok: false } : { ok: true, warning: true };
}

function shutdownOf(retirement: Retirement, nowMs: number): string {
  const verb = isShutDown(retirement, nowMs) ? "shut" : "shuts";
  return `OpenAI ${verb} it down on ${retirement.shutdown}`;
}
