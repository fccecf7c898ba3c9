import { introspectWorkflow, runInDurableObject } from "cloudflare:test";
import { describe, expect, inject, it, vi } from "vitest";
import { TURNSTILE_SUBJECT } from "../../src/access/token.ts";
import type { BatchView } from "../../src/contract/batch.ts";
import { JobBatch } from "../../src/jobs/object.ts";
import { newBody } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { TOKEN_SECRET } from "../support/vars.ts";
import { eventIn, hookAt, type Hook } from "../support/webhooks/hook.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  ADMIN,
  bindings,
  environment,
  errorOf,
  fetchWorker,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { storeJobs } from "../support/worker/stored-jobs.ts";
import { newToken } from "../support/worker/token.ts";

const env = environment({ TOKEN_SECRET });
const GENERATIONS = "/v1/images/generations";
const BATCHES = "/v1/images/batches";

quietAndFresh({ expectsErrors: true });

interface JobBody {
  id: string;
  job: string;
  status: string;
  delivery: { status: string };
}

function newHook(): Hook {
  return hookAt(inject("receiverUrl"));
}

async function submit<Body>(path: string, body: object, headers: Record<string, string> = {}) {
  const init = {
    method: "POST",
    headers: { "content-type": "application/json", prefer: "respond-async", ...headers },
    body: JSON.stringify(body),
  };
  const response = await fetchWorker(path, env, init);
  expect(response.status).toBe(202);
  return response.json<Body>();
}

/** Submits a job. */
function submitJob(body: object, headers?: Record<string, string>): Promise<JobBody> {
  return submit(GENERATIONS, { webhook_url: newHook().url, ...body }, headers);
}

/** Polls a job until its webhook is delivered. */
async function ended(id: string): Promise<JobBody> {
  return eventually(async () => {
    const job = await (await fetchWorker(`${GENERATIONS}/${id}`, env)).json<JobBody>();
    expect(job.delivery.status).toBe("delivered");
    return job;
  });
}

function cancel(path: string, headers: Record<string, string> = ADMIN): Promise<Response> {
  return fetchWorker(path, env, { method: "DELETE", headers });
}

/** A body whose generation the upstream rejects with 429. Its job then sleeps for an hour. */
function waitingBody() {
  return newBody("[upstream status=429 retry-after=3600]");
}

/** Submits with a function, and returns its result when a number of jobs wait for their next attempt. */
async function whenWaiting<Result>(count: number, submit: () => Promise<Result>): Promise<Result> {
  const endAttempt = vi.spyOn(JobBatch.prototype, "endAttempt");
  const result = await submit();
  await eventually(() => expect(endAttempt).toHaveBeenCalledTimes(count));
  return result;
}

describe("DELETE of a job that waits for its next attempt", () => {
  it("cancels it, and delivers the webhook at once although its Workflow sleeps for an hour", async () => {
    await using _ = await introspectWorkflow(bindings().IMAGE_JOB);
    const hook = newHook();
    const body = waitingBody();
    const job = await whenWaiting(1, () => submitJob({ ...body, webhook_url: hook.url }));
    const path = `${GENERATIONS}/${job.id}`;
    const response = await cancel(path);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      id: job.id,
      job: job.id,
      status: "cancelled",
      created: expect.any(Number),
      delivery: { event: expect.any(String) },
    });
    const received = await eventually(async () => {
      const [first] = await hook.received();
      return first ?? expect.fail("no delivery arrived");
    });
    expect(eventIn(received)).toMatchObject({
      type: "image.generation.failed",
      data: { job: job.id, status: "cancelled", error: { code: "cancelled" } },
    });
    const polled = await fetchWorker(path, env);
    expect(polled.headers.get("x-should-retry")).toBe("false");
    expect(await polled.clone().json()).toMatchObject({ job: job.id, status: "cancelled" });
    expect(await errorOf(polled)).toEqual([409, "cancelled", null]);
    const again = await cancel(path);
    expect([again.status, (await again.json<JobBody>()).status]).toEqual([200, "cancelled"]);
    await eventually(async () => {
      const { delivery } = await (
        await fetchWorker(path, env)
      ).json<{
        delivery: { status: string };
      }>();
      expect(delivery.status).toBe("delivered");
    });
    expect(await hook.received()).toHaveLength(1);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("cancels it if it is a batch, whose webhook then reports every request", async () => {
    await using _ = await introspectWorkflow(bindings().IMAGE_JOB);
    const hook = newHook();
    const bodies = [newBody(), newBody("[upstream delay=3000]"), waitingBody(), waitingBody()];
    const requests = bodies.map((body, index) => ({ custom_id: String(index), body }));
    const { id } = await whenWaiting(2, () =>
      submit<BatchView>(BATCHES, { requests, webhook_url: hook.url }),
    );
    await eventually(async () => {
      const { results } = await (await fetchWorker(`${BATCHES}/${id}`, env)).json<BatchView>();
      expect(results.slice(0, 2)).toMatchObject([
        { status: "completed" },
        { status: "in_progress" },
      ]);
    });
    const response = await cancel(`${BATCHES}/${id}`);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      id,
      status: "in_progress",
      request_counts: { total: 4, completed: 1, failed: 0, cancelled: 2 },
      results: [
        { status: "completed" },
        { status: "in_progress" },
        { status: "cancelled", error: { code: "cancelled" } },
        { status: "cancelled" },
      ],
    });
    const [event] = await eventually(async () => {
      const received = await hook.received();
      expect(received).toHaveLength(1);
      return received;
    });
    expect(eventIn(event)).toMatchObject({
      type: "batch.completed",
      data: {
        status: "completed",
        request_counts: { total: 4, completed: 2, failed: 0, cancelled: 2 },
      },
    });
    const calls = await Promise.all(bodies.map(({ prompt }) => upstreamCalls(prompt)));
    expect(calls).toEqual([1, 1, 1, 1]);
  });

  it("delivers the batch's webhook at once if every job of it is cancelled", async () => {
    await using _ = await introspectWorkflow(bindings().IMAGE_JOB);
    const hook = newHook();
    const requests = [waitingBody(), waitingBody()].map((body, index) => ({
      custom_id: String(index),
      body,
    }));
    const { id } = await whenWaiting(2, () =>
      submit<BatchView>(BATCHES, { requests, webhook_url: hook.url }),
    );
    const view = await (await cancel(`${BATCHES}/${id}`)).json<BatchView>();
    expect(view.status).toBe("completed");
    await eventually(async () => expect(await hook.received()).toHaveLength(1));
  });
});

describe("DELETE of a job that has begun or ended", () => {
  it("lets a generation in progress run to its end", async () => {
    const hook = newHook();
    const body = newBody("[upstream delay=1000]");
    const { id } = await submitJob({ ...body, webhook_url: hook.url });
    const path = `${GENERATIONS}/${id}`;
    await eventually(async () => {
      const { status } = await (await fetchWorker(path, env)).json<JobBody>();
      expect(status).toBe("in_progress");
    });
    const response = await cancel(path);
    expect([response.status, (await response.json<JobBody>()).status]).toEqual([
      200,
      "in_progress",
    ]);
    await eventually(async () => expect(await hook.received()).toHaveLength(1));
    expect(eventIn((await hook.received())[0]).type).toBe("image.generation.completed");
    await ended(id);
    const after = await cancel(path);
    expect([after.status, (await after.json<JobBody>()).status]).toEqual([200, "completed"]);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});

describe("a job that is cancelled during an attempt", () => {
  async function storedJob() {
    const { object, id } = await storeJobs();
    const status = async () => (await object.job(id))?.fields.status;
    return { object, id, status };
  }

  it("is cancelled when the attempt ends without a generation", async () => {
    const { object, id, status } = await storedJob();
    await object.task(id);
    await object.cancel(id, "admin");
    expect(await status()).toBe("queued");
    expect(await object.endAttempt(id)).toBe(true);
    expect(await status()).toBe("cancelled");
    expect(await object.task(id)).toBeUndefined();
  });

  it("waits for the next attempt if it is not cancelled, and is cancelled while it waits", async () => {
    const { object, id, status } = await storedJob();
    await object.task(id);
    await object.found(id, "gen_rejected");
    expect(await object.endAttempt(id)).toBe(false);
    expect(await status()).toBe("queued");
    await object.cancel(id, "admin");
    expect(await status()).toBe("cancelled");
  });

  it("fails or completes as usual if the attempt has begun a generation", async () => {
    const { object, id, status } = await storedJob();
    await object.task(id);
    await object.cancel(id, "admin");
    await object.found(id, "gen_1");
    expect(await status()).toBe("in_progress");
    await object.finish(id, { failure: { code: "upstream_outcome_unknown" } });
    expect(await status()).toBe("failed");
  });

  it("may be in progress if version 0.1.0, which marked no attempts, stored its generation", async () => {
    const { object, id, status } = await storedJob();
    await object.task(id);
    await object.found(id, "gen_1");
    await runInDurableObject(object, (_, { storage }) => {
      const { isAttempting: __, ...job } = Object(storage.kv.get(`job/${id}`));
      storage.kv.put(`job/${id}`, job);
    });
    await object.cancel(id, "admin");
    expect(await status()).toBe("in_progress");
    expect(await object.task(id)).toMatchObject({ isCancelRequested: true, generationId: "gen_1" });
  });

  it("starts no generation if the attempt broke before it started one", async () => {
    const task: JobBatch["task"] = Reflect.get(JobBatch.prototype, "task");
    vi.spyOn(JobBatch.prototype, "task").mockImplementationOnce(function (this: JobBatch, id) {
      task.call(this, id);
      this.cancel(id, "admin");
      throw new Error("the machine failed");
    });
    const body = newBody();
    const { id } = await submitJob(body);
    expect(await ended(id)).toMatchObject({ status: "cancelled", error: { code: "cancelled" } });
    expect(await upstreamCalls(body.prompt)).toBe(0);
  });

  it("completes if the attempt broke after it started a generation", async () => {
    vi.spyOn(JobBatch.prototype, "found").mockImplementationOnce(function (this: JobBatch, id) {
      this.cancel(id, "admin");
      throw new Error("the machine failed");
    });
    const body = newBody();
    const { id } = await submitJob(body);
    expect(await ended(id)).toMatchObject({ status: "completed" });
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});

describe("DELETE of a job", () => {
  it.each([
    ["the admin key", "anonymous", 200, "cancelled", "admin"],
    ["a token", "anonymous", 403, "cancel_not_allowed", "other subject"],
    ["the same token", "subject", 200, "cancelled", "same token"],
    ["another token of the same subject", "subject", 200, "cancelled", "same subject"],
    ["a token of another subject", "subject", 403, "cancel_not_allowed", "other subject"],
    ["the same Turnstile token", "visitor", 200, "cancelled", "same token"],
    ["the Turnstile token of another visitor", "visitor", 403, "cancel_not_allowed", "visitor"],
    ["no credential", "subject", 401, "missing_token", "none"],
    ["no credential", "anonymous", 401, "missing_token", "none"],
    ["a wrong admin key", "subject", 401, "invalid_token", "wrong key"],
    ["a token for webhooks only", "subject", 403, "insufficient_scope", "webhook"],
  ])("with %s, of a job submitted by %s, is %i `%s`", async (_, submitter, status, result, by) => {
    await using __ = await introspectWorkflow(bindings().IMAGE_JOB);
    const own = await newToken(submitter === "visitor" ? TURNSTILE_SUBJECT : "web");
    const headers = submitter === "anonymous" ? {} : own.headers;
    const credentials: Record<string, () => Promise<Record<string, string>>> = {
      admin: async () => ADMIN,
      none: async () => ({}),
      "wrong key": async () => ({ authorization: "Bearer wrong" }),
      "same token": async () => own.headers,
      "same subject": async () => (await newToken("web")).headers,
      "other subject": async () => (await newToken("other")).headers,
      visitor: async () => (await newToken(TURNSTILE_SUBJECT)).headers,
      webhook: async () => (await newToken("web", { scope: "webhook" })).headers,
    };
    const request = { custom_id: "a", body: waitingBody() };
    const [job, batch] = await whenWaiting(2, async () => [
      await submitJob(waitingBody(), headers),
      await submit<BatchView>(BATCHES, { requests: [request] }, headers),
    ]);
    for (const path of [`${GENERATIONS}/${job.id}`, `${BATCHES}/${batch.id}`]) {
      const response = await cancel(path, await credentials[by]?.());
      if (status === 200) {
        expect(response.status).toBe(200);
        expect(await response.text()).toContain(`"status":"${result}"`);
      } else {
        expect(await errorOf(response)).toEqual([status, result, null]);
        const { status: http } = await cancel(path);
        expect(http).toBe(200);
      }
    }
  });

  it.each([
    [`${GENERATIONS}/job_${"A".repeat(59)}`, "generation_not_found"],
    [`${GENERATIONS}/job_none`, "generation_not_found"],
    [`${BATCHES}/batch_${"A".repeat(59)}`, "batch_not_found"],
    [`${BATCHES}/none`, "batch_not_found"],
  ])("is 404 for the unknown %s, with the admin key and with a token", async (path, code) => {
    for (const headers of [ADMIN, (await newToken("web")).headers]) {
      expect(await errorOf(await cancel(path, headers))).toEqual([404, code, null]);
    }
  });
});
