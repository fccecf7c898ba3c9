import type { GenerationRecord } from "../contract/record.ts";
import type { JobOutcome } from "./storage.ts";

/*
 * The size of what a job stores when it ends. The platform's limits are 2 MB for one stored value, and 32 MiB for
 * the result of a call. Text takes up to two bytes per UTF-16 unit in both, and one to three bytes in UTF-8.
 */

/** The maximum size of the outcome of a single job, in bytes of JSON. Its webhook event has room for it. */
const JOB_BYTES = 700_000;

/** The same for a job of a batch: the results of 100 jobs are the result of one call. */
const JOB_OF_BATCH_BYTES = 100_000;

/** An outcome that can be stored. */
export interface StorableOutcome {
  outcome: JobOutcome;
  /** True if texts were left out. The generation has them. */
  isShortened: boolean;
}

/**
 * Returns the outcome of a job in a size that can be stored. A larger one loses its texts: the revised prompts of
 * a record, then every value that the upstream reported as text; or the details of a failure.
 *
 * @param isOfBatch true if the job is one of a batch
 */
export function storableOutcome(outcome: JobOutcome, isOfBatch: boolean): StorableOutcome {
  const limit = isOfBatch ? JOB_OF_BATCH_BYTES : JOB_BYTES;
  if (jsonBytes(outcome) <= limit) return { outcome, isShortened: false };
  if ("failure" in outcome) {
    const { failure } = outcome;
    return {
      outcome: {
        failure:
          failure.code === "moderation_blocked"
            ? { ...failure, details: undefined }
            : { code: "internal_error" },
      },
      isShortened: true,
    };
  }
  const record = withoutRevisedPrompts(outcome.record);
  const shortened = jsonBytes({ record }) <= limit ? record : withoutTexts(record);
  return { outcome: { record: shortened }, isShortened: true };
}

function withoutRevisedPrompts(record: GenerationRecord): GenerationRecord {
  return { ...record, images: record.images.map(({ type, bytes }) => ({ type, bytes })) };
}

function withoutTexts(record: GenerationRecord): GenerationRecord {
  const { input_tokens, output_tokens, total_tokens } = record.usage;
  const { svg_usage: _, ...rest } = record;
  return { ...rest, resolved: {}, usage: { input_tokens, output_tokens, total_tokens } };
}

/** Returns the size of a value as JSON in UTF-8. */
export function jsonBytes(value: object): number {
  return new TextEncoder().encode(JSON.stringify(value)).length;
}
