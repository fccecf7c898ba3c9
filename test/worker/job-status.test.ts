import { describe, expect, inject, it, vi } from "vitest";
import type { BatchView } from "../../src/contract/batch.ts";
import { JobBatch } from "../../src/jobs/object.ts";
import { newBody } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { eventIn, hookAt, type Hook } from "../support/webhooks/hook.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { ADMIN, environment, fetchWorker } from "../support/worker/harness.ts";
import { jobsWithoutPauses } from "../support/worker/job-workflows.ts";

const env = environment();
const BATCHES = "/v1/images/batches";
const GENERATIONS = "/v1/images/generations";
const FAILS = "[upstream status=400 code=moderation_blocked]";

quietAndFresh();

const jobs = jobsWithoutPauses();

/** Holds what the Workflow of the next job records as its outcome, until it is released. */
function holdOutcome() {
  const finish: JobBatch["finish"] = Reflect.get(JobBatch.prototype, "finish");
  // Flags, because an object cannot wait for a promise of the test.
  const flags = { hasArrived: false, isReleased: false };
  async function held(this: JobBatch, ...outcome: Parameters<JobBatch["finish"]>) {
    flags.hasArrived = true;
    while (!flags.isReleased) await scheduler.wait(10);
    finish.apply(this, outcome);
  }
  // oxlint-disable-next-line typescript/no-misused-promises -- a remote caller waits for the promise
  vi.spyOn(JobBatch.prototype, "finish").mockImplementationOnce(held);
  return {
    arrived: () => eventually(() => expect(flags.hasArrived).toBe(true)),
    release() {
      flags.isReleased = true;
    },
  };
}

async function read<Body>(path: string, init: RequestInit = {}): Promise<Body & { http: number }> {
  const response = await fetchWorker(path, env, init);
  return { ...(await response.json<Body>()), http: response.status };
}

interface JobBody {
  job: string;
  status: string;
  created: number;
  delivery?: { status: string };
  error?: { code: string };
}

async function submitJob(body: object, hook: Hook): Promise<JobBody> {
  return read(GENERATIONS, {
    method: "POST",
    headers: { "content-type": "application/json", prefer: "respond-async" },
    body: JSON.stringify({ ...body, webhook_url: hook.url }),
  });
}

async function submitBatch(body: object, hook: Hook): Promise<{ id: string; job: string }> {
  const { id, results } = await read<BatchView>(BATCHES, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ requests: [{ custom_id: "a", body }], webhook_url: hook.url }),
  });
  return { id, job: String(results[0]?.job) };
}

function newHook(): Hook {
  return hookAt(inject("receiverUrl"));
}

describe("a job whose generation has failed, but whose Workflow has not recorded that yet", () => {
  it("is in progress for GET and DELETE, also with `Prefer: wait`, and fails once it is recorded", async () => {
    const outcome = holdOutcome();
    const hook = newHook();
    const { job, created } = await submitJob(newBody(FAILS), hook);
    await outcome.arrived();
    const path = `${GENERATIONS}/${job}`;
    const pending = { job, created, status: "in_progress", delivery: { status: "pending" } };
    expect(await read(path)).toMatchObject({ ...pending, http: 202 });
    const waiting = { headers: { prefer: "wait=1" } };
    expect(await read(path, waiting)).toMatchObject({ ...pending, http: 202 });
    const deleted = await read(path, { method: "DELETE", headers: ADMIN });
    expect(deleted).toMatchObject({ ...pending, http: 200 });
    expect(await hook.received()).toEqual([]);
    outcome.release();
    await jobs.done();
    expect(await read(path)).toMatchObject({
      http: 400,
      status: "failed",
      error: { code: "moderation_blocked" },
      delivery: { status: "delivered" },
    });
    const event = eventIn((await hook.received())[0]);
    expect(event.data).toMatchObject({ status: "failed", error: { code: "moderation_blocked" } });
  });

  it("is in progress in its batch as well", async () => {
    const outcome = holdOutcome();
    const { id, job } = await submitBatch(newBody(FAILS), newHook());
    await outcome.arrived();
    expect(await read(`${GENERATIONS}/${job}`)).toMatchObject({ http: 202, status: "in_progress" });
    expect(await read(`${BATCHES}/${id}`)).toMatchObject({
      status: "in_progress",
      request_counts: { completed: 0, failed: 0 },
      results: [{ status: "in_progress" }],
    });
    outcome.release();
    await jobs.done();
    expect(await read(`${GENERATIONS}/${job}`)).toMatchObject({ http: 400, status: "failed" });
    expect(await read(`${BATCHES}/${id}`)).toMatchObject({
      status: "completed",
      request_counts: { failed: 1 },
    });
  });
});

describe("a job whose generation has completed, but whose Workflow has not recorded that yet", () => {
  it("completes with the first poll, which its batch and its webhook then agree with", async () => {
    const outcome = holdOutcome();
    const hook = newHook();
    const { id, job } = await submitBatch(newBody(), hook);
    await outcome.arrived();
    const before = await read(`${BATCHES}/${id}`);
    expect(before).toMatchObject({ status: "in_progress", results: [{ status: "in_progress" }] });
    const polled = await read<{ data: object[] }>(`${GENERATIONS}/${job}`);
    expect(polled).toMatchObject({ http: 200, job, status: "completed" });
    const after = await read<BatchView>(`${BATCHES}/${id}`);
    expect(after).toMatchObject({
      status: "completed",
      request_counts: { completed: 1 },
      results: [{ status: "completed", response: { data: polled.data } }],
    });
    outcome.release();
    await jobs.done();
    const received = await hook.received();
    expect(received).toHaveLength(1);
    expect(eventIn(received[0]).data).toMatchObject({ results: after.results });
  });

  it("completes with the poll that waited for it", async () => {
    const outcome = holdOutcome();
    const { job } = await submitJob(newBody("[upstream delay=300]"), newHook());
    await eventually(async () => {
      expect(await read(`${GENERATIONS}/${job}`)).toMatchObject({ status: "in_progress" });
    });
    const waiting = { headers: { prefer: "wait=10" } };
    expect(await read(`${GENERATIONS}/${job}`, waiting)).toMatchObject({
      http: 200,
      status: "completed",
      delivery: { status: "pending" },
    });
    outcome.release();
  });

  it("runs to its end if it is cancelled then", async () => {
    const outcome = holdOutcome();
    const { job } = await submitJob(newBody(), newHook());
    await outcome.arrived();
    const path = `${GENERATIONS}/${job}`;
    const deleted = await read(path, { method: "DELETE", headers: ADMIN });
    expect(deleted).toMatchObject({ http: 200, status: "in_progress" });
    expect(await read(path)).toMatchObject({ http: 200, status: "completed" });
    outcome.release();
  });
});
