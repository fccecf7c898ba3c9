import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { describe, expect, inject, it, vi } from "vitest";
import { Budget } from "../../src/access/budget.ts";
import { claimOpenJobs, lowerOpenJobs } from "../../src/access/job-limit.ts";
import { ImageJob } from "../../src/jobs/workflow.ts";
import { DAY_SECONDS } from "../../src/lib/clock.ts";
import { ifImplemented, objectClient } from "../../src/lib/object-client.ts";
import { app } from "../../src/app.ts";
import { Webhook } from "standardwebhooks";
import { newBody } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { TOKEN_SECRET } from "../support/vars.ts";
import { hookAt } from "../support/webhooks/hook.ts";
import { webhookSecret } from "../support/webhooks/secret.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  ADMIN,
  bindings,
  environment,
  errorOf,
  fetchWorker,
  generationRequest,
  testConfig,
} from "../support/worker/harness.ts";
import { jobsWithoutPauses } from "../support/worker/job-workflows.ts";
import { setClockAhead } from "../support/worker/pass-time.ts";
import { newToken } from "../support/worker/token.ts";

quietAndFresh({ expectsErrors: true });

// Registered after the hooks above, so that jobs end before the reset.
const jobs = jobsWithoutPauses();

type Headers = Record<string, string>;

const FIRST = { "cf-connecting-ip": "192.0.2.1" };
const SECOND = { "cf-connecting-ip": "192.0.2.2" };
const GENERATIONS = "/v1/images/generations";
const BATCHES = "/v1/images/batches";

/** Returns the environment of a gateway that allows this number of open jobs. */
function limitedTo(jobs: number) {
  return environment({ TOKEN_SECRET, MAX_OPEN_JOBS_PER_CALLER: jobs });
}

function send(path: string, body: object, headers: Headers, env: object): Promise<Response> {
  const init = {
    method: "POST",
    headers: { "content-type": "application/json", prefer: "respond-async", ...headers },
    body: JSON.stringify(body),
  };
  return fetchWorker(path, env, init);
}

/** Submits a job, the order of a webhook. */
function submitJob(headers: Headers, env: object, body: object = newBody()): Promise<Response> {
  const { url } = hookAt(inject("receiverUrl"));
  return send(GENERATIONS, { webhook_url: url, ...body }, headers, env);
}

function submitBatch(count: number, headers: Headers, env: object): Promise<Response> {
  const requests = Array.from({ length: count }, (_, index) => ({
    custom_id: String(index),
    body: newBody(),
  }));
  return send(BATCHES, { requests }, headers, env);
}

function submitSigned(env: object): Promise<Response> {
  const body = newBody();
  const id = crypto.randomUUID();
  const now = new Date();
  const headers = {
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
    "webhook-signature": new Webhook(webhookSecret("in")).sign(id, now, JSON.stringify(body)),
  };
  return send("/v1/webhooks/images", body, headers, env);
}

/** Prevents jobs from running, so that they stay open. */
function holdJobs(): void {
  vi.spyOn(ImageJob.prototype, "run").mockResolvedValue();
}

async function expectRefused(response: Response): Promise<void> {
  expect(await errorOf(response)).toEqual([429, "rate_limit_exceeded", null]);
}

describe("a burst of 200 webhook orders from one address", () => {
  it("submits 100 jobs, and another network is served", { timeout: 60_000 }, async () => {
    holdJobs();
    // The default limit.
    const env = environment({ MAX_OPEN_JOBS_PER_CALLER: "" });
    const statuses: number[] = [];
    for (let sent = 0; sent < 200; sent += 20) {
      const burst = Array.from({ length: 20 }, () => submitJob(FIRST, env));
      statuses.push(...(await Promise.all(burst)).map(({ status }) => status));
    }
    expect(statuses.filter((status) => status === 202)).toHaveLength(100);
    expect(statuses.filter((status) => status === 429)).toHaveLength(100);
    expect((await submitJob(SECOND, env)).status).toBe(202);
  });
});

describe("MAX_OPEN_JOBS_PER_CALLER", () => {
  it("is named by the error, with a Retry-After, and nothing is stored", async () => {
    holdJobs();
    const env = limitedTo(1);
    expect((await submitJob(FIRST, env)).status).toBe(202);
    const refused = await submitJob(FIRST, env);
    expect(refused.headers.get("retry-after")).toBe("60");
    expect(refused.headers.get("ratelimit")).toBe('"open_jobs";r=0;t=60');
    expect(refused.headers.get("ratelimit-policy")).toBe('"open_jobs";q=1;qu="jobs"');
    const { error } = await refused.json<{ error: { message: string } }>();
    expect(error.message).toBe(
      "Too many of your jobs have not ended. The limit is 1. Retry after 60 seconds.",
    );
  });

  it("limits jobs, batches and webhooks with a token of one subject together", async () => {
    holdJobs();
    const env = limitedTo(5);
    const { headers } = await newToken("shop");
    const { token } = await newToken("shop", { scope: "webhook" });
    const webhook = () => send(`/v1/webhooks/images/${token}`, newBody(), {}, env);
    expect((await submitBatch(3, headers, env)).status).toBe(202);
    await expectRefused(await submitBatch(3, headers, env));
    expect((await webhook()).status).toBe(202);
    expect((await submitJob(headers, env)).status).toBe(202);
    await expectRefused(await webhook());
    await expectRefused(await submitJob(headers, env));
    expect((await submitJob((await newToken("other")).headers, env)).status).toBe(202);
  });

  it("limits all signed webhooks together", async () => {
    holdJobs();
    const env = limitedTo(2);
    const statuses = [await submitSigned(env), await submitSigned(env)].map(({ status }) => status);
    expect(statuses).toEqual([202, 202]);
    await expectRefused(await submitSigned(env));
    expect((await submitJob(FIRST, env)).status).toBe(202);
  });

  it("does not count jobs that have completed, failed or been cancelled", async () => {
    const env = limitedTo(1);
    const moderated = newBody("[upstream status=400 code=moderation_blocked]");
    expect((await submitJob(FIRST, env)).status).toBe(202);
    await jobs.done();
    expect((await submitJob(FIRST, env, moderated)).status).toBe(202);
    await jobs.done();
    holdJobs();
    const { id } = await (await submitJob(FIRST, env)).json<{ id: string }>();
    await expectRefused(await submitJob(FIRST, env));
    await fetchWorker(`${GENERATIONS}/${id}`, env, { method: "DELETE", headers: ADMIN });
    expect((await submitJob(FIRST, env)).status).toBe(202);
  });

  it("does not count the ended jobs of a batch in progress", async () => {
    const env = limitedTo(2);
    const requests = [newBody(), newBody("[upstream delay=4000]")].map((body, index) => ({
      custom_id: String(index),
      body,
    }));
    const { id } = await (await send(BATCHES, { requests }, FIRST, env)).json<{ id: string }>();
    await expectRefused(await submitJob(FIRST, env));
    await vi.waitFor(async () => {
      const view = await fetchWorker(`${BATCHES}/${id}`, env);
      expect(await view.text()).toContain('"status":"completed"');
    });
    await vi.waitFor(async () => expect((await submitJob(FIRST, env)).status).toBe(202));
  });

  it("counts an ended job no more although its account failed at first", async () => {
    vi.spyOn(Budget.prototype, "lowerJobs").mockImplementationOnce(() => {
      throw new Error("reset because its code was updated");
    });
    const env = limitedTo(1);
    expect((await submitJob(FIRST, env)).status).toBe(202);
    await jobs.done();
    expect((await submitJob(FIRST, env)).status).toBe(202);
  });

  it("does not count a job that could not be started, and whose id the client never got", async () => {
    const IMAGE_JOB = { createBatch: () => Promise.reject(new Error("Workflows are down")) };
    const env = limitedTo(1);
    expect((await submitJob(FIRST, { ...env, IMAGE_JOB })).status).toBe(500);
    expect((await submitJob(FIRST, env)).status).toBe(202);
  });

  it("returns the job of a repeated Idempotency-Key, in progress or ended, and counts nothing", async () => {
    const env = limitedTo(1);
    const headers = { ...FIRST, "idempotency-key": crypto.randomUUID() };
    const body = { ...newBody(), webhook_url: hookAt(inject("receiverUrl")).url };
    const repeat = async () => {
      const response = await submitJob(headers, env, body);
      expect(response.status).toBe(202);
      return (await response.json<{ id: string }>()).id;
    };
    const ids = await Promise.all([repeat(), repeat(), repeat()]);
    await jobs.done();
    ids.push(await repeat());
    holdJobs();
    setClockAhead(2 * 3600);
    ids.push(await repeat());
    expect(new Set(ids).size).toBe(1);
    expect((await submitJob(FIRST, env)).status).toBe(202);
    ids.push(await repeat());
    expect(new Set(ids).size).toBe(1);
  });

  it("counts nothing for an Idempotency-Key that another request has used", async () => {
    holdJobs();
    const env = limitedTo(2);
    const headers = { ...FIRST, "idempotency-key": crypto.randomUUID() };
    expect((await submitJob(headers, env)).status).toBe(202);
    setClockAhead(8 * DAY_SECONDS);
    expect((await submitJob(headers, env)).status).toBe(422);
    expect((await submitBatch(2, FIRST, env)).status).toBe(202);
  });
});

describe("a client that disconnects while its job is submitted", () => {
  it("does not keep the job from being started", async () => {
    const { promise: opened, resolve: open } = Promise.withResolvers<void>();
    const claimJobs: Budget["claimJobs"] = Reflect.get(Budget.prototype, "claimJobs");
    const claim = vi.spyOn(Budget.prototype, "claimJobs").mockImplementation(async function (
      this: Budget,
      ...args
    ) {
      await opened;
      return claimJobs.call(this, ...args);
    });
    const createBatch = vi.fn<() => Promise<object>>().mockResolvedValue({ errors: [] });
    const env = { ...limitedTo(1), IMAGE_JOB: { createBatch } };
    const context = createExecutionContext();
    const body = { ...newBody(), webhook_url: hookAt(inject("receiverUrl")).url };
    const request = generationRequest(body, { prefer: "respond-async" });
    const response = app.fetch(request, env, context);
    await eventually(() => expect(claim).toHaveBeenCalled());
    // After a disconnection, the runtime runs only this work.
    const work = waitOnExecutionContext(context);
    open();
    await work;
    expect(createBatch).toHaveBeenCalledOnce();
    await response;
  });
});

describe("the open jobs of a caller", () => {
  const config = testConfig({ MAX_OPEN_JOBS_PER_CALLER: "3" });
  const claim = (submission: string, count: number) =>
    claimOpenJobs(config, "network/x", submission, count);
  const lower = (submission: string, open: number) =>
    lowerOpenJobs(config, "network/x", submission, open);

  it("are forgotten after seven days", async () => {
    expect(await claim("a", 3)).toBe("claimed");
    setClockAhead(7 * DAY_SECONDS - 60);
    expect(await claim("b", 1)).toBe("refused");
    setClockAhead(120);
    expect(await claim("b", 3)).toBe("claimed");
  });

  it("are never raised by a late or repeated call", async () => {
    await claim("a", 3);
    await lower("a", 1);
    await lower("a", 2);
    expect(await claim("a", 3)).toBe("known");
    expect(await claim("b", 2)).toBe("claimed");
    await lower("a", 0);
    expect(await claim("a", 3)).toBe("known");
    expect(await claim("c", 1)).toBe("claimed");
    expect(await claim("d", 1)).toBe("refused");
  });

  it("are not counted by an account that still runs version 0.1.0", async () => {
    const account = objectClient(bindings().BUDGET, bindings().BUDGET.newUniqueId());
    const missing = Reflect.get(account, "aMethodOfTheNextVersion") as () => Promise<string>;
    expect(await ifImplemented(missing)).toBeUndefined();
    await expect(ifImplemented(() => Promise.reject(new TypeError("another one")))).rejects.toThrow(
      "another one",
    );
  });
});
