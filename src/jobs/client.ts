import { lowerOpenJobs } from "../access/job-limit.ts";
import type { Config } from "../config/environment.ts";
import { durableIdOf } from "../lib/object-id.ts";
import { ifImplemented, objectClient, type ObjectClient } from "../lib/object-client.ts";
import type { JobBatch } from "./object.ts";

/** The RPC methods of the Durable Object of a job or batch. */
export type JobBatchClient = ObjectClient<JobBatch>;

/** Returns the client for the Durable Object in an id; `undefined` if the id is invalid. */
export function jobBatchOf(
  config: Config,
  prefix: "job" | "batch",
  id: string,
): JobBatchClient | undefined {
  const objectId = durableIdOf(config.jobs, prefix, id);
  return objectId === undefined ? undefined : objectClient(config.jobs, objectId);
}

/**
 * Tells the account of a submission's caller how many of its jobs have not ended; idempotent.
 *
 * @throws if the account is unreachable
 */
export async function lowerOpenJobsOf(jobBatch: JobBatchClient, config: Config): Promise<void> {
  const count = await ifImplemented(() => jobBatch.openJobs());
  if (count === undefined) return;
  await lowerOpenJobs(config, count.account, count.submission, count.open);
}
