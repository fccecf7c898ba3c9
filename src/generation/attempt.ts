import { errorFields, log } from "../telemetry/log.ts";
import { afterFailure, attemptsOf, type RetriedStep } from "./lifecycle.ts";
import type { GenerationStorage, StoredGeneration } from "./storage.ts";

/** The log events of a failed step. */
const FAILURE_EVENTS: Record<RetriedStep, string> = {
  settle: "budget_settle_failed",
  copy: "cache_write_failed",
};

/**
 * Performs a step after the end of a generation. Stores its changes, or those after a failure. Never throws:
 * the alarm retries the step.
 */
export async function attemptStep(
  kind: RetriedStep,
  generation: StoredGeneration,
  storage: GenerationStorage,
  step: () => Promise<Partial<StoredGeneration>>,
): Promise<void> {
  const { id } = generation;
  try {
    storage.update(id, await step());
  } catch (error) {
    const attempt = attemptsOf(kind, generation) + 1;
    log("error", FAILURE_EVENTS[kind], { id, attempt, ...errorFields(error) });
    const stored = storage.byId(id);
    if (stored !== undefined) storage.update(id, afterFailure(kind, stored, Date.now()));
  }
}
