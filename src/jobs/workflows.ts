import type { Config } from "../config/environment.ts";

/**
 * Starts the Workflows that are not running yet. A repeated submission starts the same ids, and the
 * platform starts each id only once.
 */
export async function startWorkflows(
  { imageJobs }: Config,
  jobs: readonly string[],
): Promise<void> {
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

/**
 * Runs the Workflow of a cancelled job at once, so that it delivers the webhook. It may be asleep for up to an
 * hour, and then starts from its first step, which finds that the job has ended.
 */
export async function wakeWorkflow({ imageJobs }: Config, id: string): Promise<void> {
  const { errors } = await imageJobs.createBatch({ instances: [{ id }] });
  if (errors.length > 0) await (await imageJobs.get(id)).restart();
}
