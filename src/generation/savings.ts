import { countUsage, type ChargedAccounts } from "../access/budget.ts";
import type { Config } from "../config/environment.ts";
import { costOfRecord, type PricedRequest } from "../contract/pricing.ts";
import type { GenerationResult } from "./result.ts";

/**
 * Counts a request that cost nothing: it found what was made before, or joined what goes on.
 *
 * @returns work that the runtime is to stay alive for, if there is any
 */
export function recordSavings(
  found: GenerationResult,
  request: PricedRequest,
  { caller }: ChargedAccounts,
  config: Config,
): Promise<void> | undefined {
  const { outcome } = found;
  const isCollapsed = outcome.kind !== "hit" && outcome.collapsed;
  if (outcome.kind !== "hit" && !isCollapsed) return undefined;
  // A hit may be an image of the model that the request's own has replaced.
  const record = found.kind === "made" ? found.record : undefined;
  return countUsage(config, {
    caller,
    model: record?.model ?? request.upstreamModel,
    hits: isCollapsed ? 0 : 1,
    collapsed: isCollapsed ? 1 : 0,
    saved: record === undefined ? 0 : costOfRecord(record, config.prices),
  });
}
