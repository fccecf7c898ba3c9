import type { Config } from "../config/environment.ts";
import { GatewayError } from "../errors/failure.ts";
import { durableIdOf } from "../lib/object-id.ts";
import { rpcClient, type RpcClient } from "../lib/rpc-client.ts";
import type { JobBatch } from "./object.ts";
import type { JobSubmission } from "./submission.ts";

/** The RPC methods of the Durable Object of a job or batch. */
export type JobBatchClient = RpcClient<JobBatch>;

/**
 * Stores a submission and starts its jobs. If its name was used before with the same requests, the
 * existing job or batch is returned.
 *
 * @param name name of the Durable Object; `undefined` for a new, unnamed one
 * @returns the id of the batch, or of the only job
 * @throws {GatewayError} `idempotency_key_reused` if the name was used with different requests
 */
export async function submitJobs(
  config: Config,
  name: string | undefined,
  submission: JobSubmission,
): Promise<string> {
  const objects = config.jobs;
  const objectId = name === undefined ? objects.newUniqueId() : objects.idFromName(name);
  const accepted = await rpcClient(objects.get(objectId)).accept(submission);
  if (accepted === undefined) throw new GatewayError({ code: "idempotency_key_reused" });
  if (accepted.openJobs.length > 0) await startWorkflows(config, accepted.openJobs);
  return accepted.id;
}

/**
 * Starts the Workflows that are not running yet. A repeated submission starts the same ids, and the
 * platform starts each id only once.
 */
async function startWorkflows({ imageJobs }: Config, jobs: readonly string[]): Promise<void> {
  const { errors } = await imageJobs.createBatch({ instances: jobs.map((id) => ({ id })) });
  // The codes and texts of these errors are undocumented, so the status of each instance decides.
  await Promise.all(errors.map(({ id = "" }) => restartIfStopped(imageJobs, id)));
}

/** Restarts a Workflow that the platform gave up. Any other is running or has completed. */
async function restartIfStopped(imageJobs: Workflow, id: string): Promise<void> {
  const instance = await imageJobs.get(id);
  const { status } = await instance.status();
  if (status === "errored" || status === "terminated") await instance.restart();
}

/** Returns the client for the Durable Object in an id; `undefined` if the id is invalid. */
export function jobBatchOf(
  config: Config,
  prefix: "job" | "batch",
  id: string,
): JobBatchClient | undefined {
  const objectId = durableIdOf(config.jobs, prefix, id);
  return objectId === undefined ? undefined : rpcClient(config.jobs.get(objectId));
}
