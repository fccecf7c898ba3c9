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
 * Runs the Workflow of a cancelled job at once, so that it delivers the webhook. It may be asleep for up to an
 * hour, and then starts from its first step, which finds that the job has ended.
 */
export async function wakeWorkflow({ imageJobs }: Config, id: string): Promise<void> {
  const { errors } = await createAll(imageJobs, [id]);
  if (errors.length === 0) return;
  const instance = await within(CALL_MS, imageJobs.get(id));
  await within(CALL_MS, instance.restart());
}
