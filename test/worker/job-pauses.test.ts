import { introspectWorkflow, runDurableObjectAlarm } from "cloudflare:test";
import { describe, expect, inject, it } from "vitest";
import type { JobFields } from "../../src/contract/job.ts";
import { durableIdOf } from "../../src/lib/object-id.ts";
import { eventually } from "../support/eventually.ts";
import { hookAt, type Hook } from "../support/webhooks/hook.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { bindings, environment, fetchWorker, post } from "../support/worker/harness.ts";

const env = environment();

quietAndFresh();

/** Submits a job, waits for its first delivery attempt and returns its id. */
async function attemptedJob(hook: Hook): Promise<string> {
  const body = { model: "dall-e-2", size: "256x256", prompt: crypto.randomUUID() };
  const response = await post({ ...body, webhook_url: hook.url }, { prefer: "respond-async" }, env);
  const { job } = await response.json<JobFields>();
  await eventually(async () => expect((await delivery(job))?.attempts).toHaveLength(1));
  return job;
}

async function delivery(id: string): Promise<JobFields["delivery"]> {
  const response = await fetchWorker(`/v1/images/generations/${id}`, env);
  return (await response.json<JobFields>()).delivery;
}

describe("a job between two delivery attempts", () => {
  it.each([
    ["503", 5],
    ["503+7200", 7200],
    ["429+1", 5],
  ])("waits after the receiver's response %s for %i seconds", async (plan, seconds) => {
    await using _ = await introspectWorkflow(bindings().IMAGE_JOB);
    const pending = await delivery(await attemptedJob(hookAt(inject("receiverUrl"), plan)));
    expect(pending?.status).toBe("pending");
    const pause = Number(pending?.next_attempt_at) - Number(pending?.attempts[0]?.at);
    expect(pause).toBeGreaterThanOrEqual(seconds);
    expect(pause).toBeLessThanOrEqual(seconds + 1);
  });

  it("delivers at the next attempt if its Workflow was paused and resumed meanwhile", async () => {
    await using workflow = await introspectWorkflow(bindings().IMAGE_JOB);
    const hook = hookAt(inject("receiverUrl"), "503+7200,200");
    const job = await attemptedJob(hook);
    const [instance] = await workflow.get();
    await instance?.modify((modifier) => modifier.disableSleeps());
    const handle = await bindings().IMAGE_JOB.get(job);
    await handle.pause();
    await handle.resume();
    await eventually(async () => expect((await delivery(job))?.status).toBe("delivered"));
    expect(await hook.received()).toHaveLength(2);
  });

  it("keeps waiting when the alarm of its batch runs in the process that runs its Workflow", async () => {
    await using _ = await introspectWorkflow(bindings().IMAGE_JOB);
    const hook = hookAt(inject("receiverUrl"), "503+7200,200");
    const objectId = durableIdOf(bindings().JOBS, "job", await attemptedJob(hook));
    const object = bindings().JOBS.get(objectId ?? expect.fail("no job id"));
    expect(await runDurableObjectAlarm(object)).toBe(true);
    // A Workflow that was run again would have delivered before this one.
    await attemptedJob(hookAt(inject("receiverUrl"), "503+7200"));
    expect(await hook.received()).toHaveLength(1);
  });
});
