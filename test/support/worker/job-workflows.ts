import { introspectWorkflow, type WorkflowIntrospector } from "cloudflare:test";
import { afterEach, beforeEach } from "vitest";
import { bindings } from "./harness.ts";

/** The jobs of a test. */
export interface Jobs {
  /** Waits until all jobs that were submitted so far have completed. */
  done(): Promise<void>;
  /** Makes a step of every job that is submitted afterwards fail, as if the platform failed. */
  failStep(name: string, times?: number): Promise<void>;
}

/**
 * Removes the pauses between attempts from the jobs of a file's tests. After each test it waits for the
 * test's jobs.
 */
export function jobsWithoutPauses(): Jobs {
  let workflow: WorkflowIntrospector | undefined;
  const done = async () => {
    for (const instance of (await workflow?.get()) ?? []) await instance.waitForStatus("complete");
  };
  beforeEach(async () => {
    workflow = await introspectWorkflow(bindings().IMAGE_JOB);
    await workflow.modifyAll(async (instance) => {
      await instance.disableSleeps();
      await instance.disableRetryDelays();
    });
  });
  afterEach(async () => {
    await done();
    await workflow?.dispose();
  });
  return {
    done,
    async failStep(name, times) {
      const error = new Error("the platform failed");
      await workflow?.modifyAll((instance) => instance.mockStepError({ name }, error, times));
    },
  };
}
