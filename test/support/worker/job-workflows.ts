import { introspectWorkflow, type WorkflowIntrospector } from "cloudflare:test";
import { afterEach, beforeEach } from "vitest";
import { bindings } from "./harness.ts";

/** The jobs of a test. */
export interface Jobs {
  /** Waits until all that were ordered so far are over. */
  done(): Promise<void>;
  /** Has a step of all that are ordered from now on fail, as where the platform is in trouble. */
  failStep(name: string, times?: number): Promise<void>;
}

/**
 * Has the jobs of a file's tests run with no time between their attempts, and each test see its own to
 * their end.
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
      const error = new Error("the platform is in trouble");
      await workflow?.modifyAll((instance) => instance.mockStepError({ name }, error, times));
    },
  };
}
