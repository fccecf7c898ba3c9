import type { Config } from "../config/environment.ts";
import { GatewayError } from "../errors/failure.ts";
import type { Canceller } from "./cancellation.ts";
import { lowerOpenJobsOf, type JobBatchClient } from "./client.ts";
import { runAgain } from "./workflows.ts";

/**
 * Cancels a job, or all jobs of a batch: those that have not begun. Others run to their end. Idempotent.
 *
 * @returns false if the id is unknown
 * @throws {GatewayError} `cancel_not_allowed`
 */
export async function cancelJobs(
  jobBatch: JobBatchClient,
  id: string,
  by: Canceller,
  config: Config,
): Promise<boolean> {
  const cancellation = await jobBatch.cancel(id, by);
  if (cancellation === undefined) return false;
  if (cancellation === "not_allowed") throw new GatewayError({ code: "cancel_not_allowed" });
  const { deliverer } = cancellation;
  // Its Workflow may be asleep for up to an hour.
  if (deliverer !== undefined) await runAgain(config, [deliverer]);
  await lowerOpenJobsOf(jobBatch, config);
  return true;
}
