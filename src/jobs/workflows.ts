import type { Config } from "../config/environment.ts";
import { within } from "../lib/within.ts";

/** The time that one call of the platform's Workflows may take. */
const CALL_MS = 30_000;

/**
 * Starts the Workflows that are not running yet. A repeated submission starts the same ids, and the
 * platform starts each id only once.
 */
export async function startWorkflows(
  { imageJobs }: Config,
  jobs: readonly string[],
): Promise<void> {
  const { errors } = await createAll(imageJobs, jobs);
  // The codes and texts of these errors are undocumented, so the status of each instance decides.
  await Promise.all(errors.map(({ id = "" }) => restartIfStopped(imageJobs, id)));
}

function createAll(imageJobs: Workflow, ids: readonly string[]) {
  return within(CALL_MS, imageJobs.createBatch({ instances: ids.map((id) => ({ id })) }));
}

/** Restarts a Workflow that the platform gave up. Any other is running or has completed. */
async function restartIfStopped(imageJobs: Workflow, id: string): Promise<void> {
  const instance = await within(CALL_MS, imageJobs.get(id));
  const { status } = await within(CALL_MS, instance.status());
  if (status === "errored" || status === "terminated") await within(CALL_MS, instance.restart());
}

/**
 * Runs Workflows again from their first step, whatever their status. That step finds the job's generation or
 * outcome. For Workflows that sleep, or that a process was running which has ended.
 */
export async function runAgain({ imageJobs }: Config, jobs: readonly string[]): Promise<void> {
  const { errors } = await createAll(imageJobs, jobs);
  await Promise.all(errors.map(({ id = "" }) => restart(imageJobs, id)));
}

async function restart(imageJobs: Workflow, id: string): Promise<void> {
  const instance = await within(CALL_MS, imageJobs.get(id));
  await within(CALL_MS, instance.restart());
}
