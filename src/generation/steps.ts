import { kvCache } from "../cache/cache.ts";
import { configOf } from "../config/environment.ts";
import { errorFields, log } from "../telemetry/log.ts";
import type { KeyObject } from "./client.ts";
import { copyToCache, purgeFromCache } from "./copy.ts";
import { afterFailure, attemptsOf, type RetriedStep, type WorkStep } from "./lifecycle.ts";
import type { ObjectNotes, Tombstone } from "./notes.ts";
import { releaseStart } from "./reservation.ts";
import { settle } from "./settlement.ts";
import type { GenerationStorage, StoredGeneration } from "./storage.ts";
import { callUpstream, type CallParts } from "./upstream-call.ts";

/** The parts of a Generation object that the steps of its alarm change. */
export interface ObjectParts extends CallParts {
  notes: ObjectNotes;
  /** Returns the object that writes the record under a request key: this one, or another. */
  objectOfKey: (key: string) => KeyObject;
}

/** Performs one step of an alarm. Stores its outcome, also if it fails: the alarm retries it. */
export function performStep(step: WorkStep, parts: ObjectParts): Promise<void> {
  switch (step.kind) {
    case "release":
      return releaseStart(parts.env, step.item, parts.notes);
    case "purge":
      return purge(step.item, parts);
    case "dispatch":
      return callUpstream(step.item, parts);
    case "settle":
      return attempt("settle", step.item, parts.storage, async () => {
        await settle(configOf(parts.env), step.item);
        return { settled: true };
      });
    case "copy":
      return attempt("copy", step.item, parts.storage, () => copy(step.item, parts));
  }
}

async function copy(
  generation: StoredGeneration,
  { env, storage, objectOfKey }: ObjectParts,
): Promise<Partial<StoredGeneration>> {
  const { id, job, record } = generation;
  if (record !== undefined) {
    await copyToCache(record, job, {
      cache: kvCache(configOf(env)),
      openImage: (index) => storage.openImage(generation, index),
      isDeleted: () => storage.byId(id) === undefined,
      publish: (...copied) => objectOfKey(job.key).publish(...copied),
    });
  }
  return { copied: true, copiedMs: Date.now() };
}

function purge(
  tombstone: Tombstone,
  { env, notes, storage, objectOfKey }: ObjectParts,
): Promise<void> {
  return purgeFromCache(tombstone, {
    cache: () => kvCache(configOf(env)),
    notes,
    deleteImages: (id) => storage.deleteImages(id),
    withdraw: (...deleted) => objectOfKey(tombstone.key).withdraw(...deleted),
  });
}

/** The log events of a failed step. */
const FAILURE_EVENTS: Record<RetriedStep, string> = {
  settle: "budget_settle_failed",
  copy: "cache_write_failed",
};

/** Performs a step after the end of a generation. Stores its changes, or those after a failure. */
async function attempt(
  kind: RetriedStep,
  generation: StoredGeneration,
  storage: GenerationStorage,
  step: () => Promise<Partial<StoredGeneration>>,
): Promise<void> {
  const { id } = generation;
  try {
    storage.update(id, await step());
  } catch (error) {
    const attempts = attemptsOf(kind, generation) + 1;
    log("error", FAILURE_EVENTS[kind], { id, attempt: attempts, ...errorFields(error) });
    const stored = storage.byId(id);
    if (stored !== undefined) storage.update(id, afterFailure(kind, stored, Date.now()));
  }
}
