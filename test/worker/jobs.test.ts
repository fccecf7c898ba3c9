import { afterEach, describe, expect, inject, it, vi } from "vitest";
import { Ledger } from "../../src/access/ledger.ts";
import { IdempotencyKey } from "../../src/generation/idempotency.ts";
import { JobBatch } from "../../src/jobs/object.ts";
import { JobBatchStorage } from "../../src/jobs/storage.ts";
import { CALL_ATTEMPTS } from "../../src/lib/object-client.ts";
import { eventually } from "../support/eventually.ts";
import { eventIn, hookAt, type Hook } from "../support/webhooks/hook.ts";
import { failAccounts } from "../support/worker/failing-accounts.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  bindings,
  changeEnvironment,
  environment,
  errorOf,
  fetchWorker,
  post,
  sharedObject,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { jobsWithoutPauses } from "../support/worker/job-workflows.ts";
import { newBody } from "../support/bodies.ts";

const env = environment();

quietAndFresh();

// Registered after the hooks above, so that jobs end before the reset.
const jobs = jobsWithoutPauses();

afterEach(() => failAccounts(false));

interface JobBody {
  id: string;
  job: string;
  status: string;
  data?: { url?: string; b64_json?: string }[];
  delivery?: {
    event: string;
    status: string;
    attempts: { at: number; outcome: string; status?: number }[];
    next_attempt_at?: number;
  };
  error?: { code: string };
}

function hookOf(plan?: string): Hook {
  return hookAt(inject("receiverUrl"), plan);
}

function submit(body: object, headers: Record<string, string> = {}, environment = env) {
  return post(body, { prefer: "respond-async", ...headers }, environment);
}

async function poll(id: string, query = ""): Promise<JobBody & { http: number }> {
  const response = await fetchWorker(`/v1/images/generations/${id}${query}`, env);
  return { ...(await response.json<JobBody>()), http: response.status };
}

async function submitToHook(body: object, hook: Hook): Promise<JobBody> {
  const response = await submit({ ...body, webhook_url: hook.url });
  expect(response.status).toBe(202);
  return response.json();
}

/** Submits a job and polls it after it has ended. */
async function run(body: object, hook: Hook): Promise<JobBody & { http: number }> {
  const { id } = await submitToHook(body, hook);
  await jobs.done();
  return poll(id);
}

describe("a job", () => {
  it("responds 202 with the URL of the job, which is queued", async () => {
    const hook = hookOf();
    const response = await submit({ ...newBody(), webhook_url: hook.url });
    expect(response.status).toBe(202);
    const job = await response.json<JobBody>();
    expect(job).toMatchObject({
      id: expect.stringMatching(/^job_[\w-]{59}$/),
      job: job.id,
      status: "queued",
      delivery: { event: expect.stringMatching(/^evt_/), status: "pending", attempts: [] },
    });
    expect(response.headers.get("location")).toBe(`/v1/images/generations/${job.id}`);
    expect(response.headers.get("preference-applied")).toBe("respond-async");
    const seconds = Number(response.headers.get("retry-after"));
    expect(seconds).toBeGreaterThan(0);
    expect(Number(response.headers.get("retry-after-ms"))).toBe(seconds * 1000);
  });

  it("delivers one webhook when it completes, with images by URL", async () => {
    const hook = hookOf();
    const body = newBody();
    const completed = await run({ ...body, response_format: "b64_json" }, hook);
    const [received, ...more] = await hook.received();
    expect(more).toEqual([]);
    const event = eventIn(received);
    expect(event).toMatchObject({
      id: received?.headers["webhook-id"],
      object: "event",
      type: "image.generation.completed",
      data: { job: completed.job, status: "completed", id: completed.id, model: "dall-e-2" },
    });
    expect(received?.body).not.toContain("b64_json");
    const { data } = event.data as { data: { url: string }[] };
    const image = await fetchWorker(data[0]?.url ?? "", env);
    expect(image.headers.get("content-type")).toBe("image/png");
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("returns its generation when polled, in the submitted or the queried response_format", async () => {
    const body = newBody();
    const completed = await run({ ...body, response_format: "b64_json" }, hookOf());
    expect(completed).toMatchObject({
      http: 200,
      object: "chat.completion",
      id: expect.stringMatching(/^gen_/),
      status: "completed",
      data: [{ b64_json: expect.any(String) }],
      delivery: { status: "delivered", attempts: [{ outcome: "delivered", status: 200 }] },
    });
    const byUrl = await poll(completed.job, "?response_format=url");
    expect(byUrl.data?.[0]?.url).toMatch(/^https:\/\/gateway\.example\/v1\/images\/gen_/);
  });

  it("returns its image in the format that it has if it is polled with an Accept for another one", async () => {
    const { job } = await run(newBody(), hookOf());
    const init = { headers: { accept: "image/webp" } };
    const response = await fetchWorker(`/v1/images/generations/${job}`, env, init);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("image/png");
  });

  it("completes with a cached generation without calling the upstream again", async () => {
    const body = newBody();
    await post(body, {}, env);
    const hook = hookOf();
    expect((await run(body, hook)).status).toBe("completed");
    expect(await hook.received()).toHaveLength(1);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("holds a poll with `Prefer: wait` until it completes", async () => {
    const { id } = await submitToHook(newBody("[upstream delay=300]"), hookOf());
    await eventually(async () => expect((await poll(id)).status).toBe("in_progress"));
    const init = { headers: { prefer: "wait=10" } };
    const response = await fetchWorker(`/v1/images/generations/${id}`, env, init);
    expect([response.status, response.headers.get("preference-applied")]).toEqual([200, "wait=10"]);
  });

  it("fails with `moderation_blocked` and delivers the error if moderation blocks the prompt", async () => {
    const hook = hookOf();
    const failed = await run(newBody("[upstream status=400 code=moderation_blocked]"), hook);
    expect(failed).toMatchObject({
      http: 400,
      error: { code: "moderation_blocked" },
      status: "failed",
      delivery: { status: "delivered" },
    });
    expect(eventIn((await hook.received())[0])).toMatchObject({
      type: "image.generation.failed",
      data: {
        job: failed.job,
        status: "failed",
        error: { code: "moderation_blocked", type: "image_generation_user_error", param: null },
      },
    });
  });

  it("fails with `budget_exceeded` and delivers the error, without an upstream call", async () => {
    const hook = hookOf();
    const body = newBody();
    await changeEnvironment(await sharedObject(body), { BUDGET_USD_PER_DAY: "0" });
    expect(await run(body, hook)).toMatchObject({ http: 429, error: { code: "budget_exceeded" } });
    expect(eventIn((await hook.received())[0])).toMatchObject({
      type: "image.generation.failed",
      data: { error: { code: "budget_exceeded", type: "insufficient_quota" } },
    });
    expect(await upstreamCalls(body.prompt)).toBe(0);
  });

  it("waits while its caller has too many generations in progress, then completes", async () => {
    const reserve = vi.spyOn(Ledger.prototype, "reserve");
    for (let attempt = 0; attempt < 5; attempt += 1) reserve.mockReturnValueOnce("busy");
    const body = newBody();
    expect(await run(body, hookOf())).toMatchObject({ http: 200, status: "completed" });
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("waits while the upstream responds 429, then completes", async () => {
    const body = newBody("[upstream status=429 retry-after=60 times=4]");
    expect(await run(body, hookOf())).toMatchObject({ http: 200, status: "completed" });
    expect(await upstreamCalls(body.prompt)).toBeGreaterThan(4);
  });

  it("calls the upstream once, although its IdempotencyKey object failed to claim and to bind", async () => {
    const failOnce = () => {
      throw new Error("reset because its code was updated");
    };
    vi.spyOn(IdempotencyKey.prototype, "claim").mockImplementationOnce(failOnce);
    vi.spyOn(IdempotencyKey.prototype, "bind").mockImplementationOnce(failOnce);
    const body = newBody();
    expect(await run(body, hookOf())).toMatchObject({ http: 200, status: "completed" });
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("completes although the accounts were unreachable at first", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    failAccounts(true);
    const task: JobBatch["task"] = Reflect.get(JobBatch.prototype, "task");
    const attempts: string[] = [];
    vi.spyOn(JobBatch.prototype, "task").mockImplementation(function (this: JobBatch, id) {
      attempts.push(id);
      failAccounts(attempts.length === 1);
      return task.call(this, id);
    });
    const body = newBody();
    expect(await run(body, hookOf())).toMatchObject({ http: 200, status: "completed" });
    expect(attempts.length).toBeGreaterThan(1);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("delivers its webhook once, although storing its outcome failed at first", async () => {
    const hook = hookOf();
    const { id } = await submitToHook(newBody("[upstream delay=300]"), hook);
    vi.spyOn(JobBatchStorage.prototype, "saveBatch").mockImplementationOnce(() => {
      throw new Error("the disk is full");
    });
    await jobs.done();
    expect((await poll(id)).delivery?.status).toBe("delivered");
    expect(await hook.received()).toHaveLength(1);
  });

  it("fails with `internal_error` and delivers the error if its generate step fails", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    await jobs.failStep("generate 1");
    const hook = hookOf();
    const failed = await run(newBody(), hook);
    expect(failed).toMatchObject({
      http: 500,
      status: "failed",
      error: { code: "internal_error" },
    });
    expect(eventIn((await hook.received())[0]).type).toBe("image.generation.failed");
  });

  it("delivers at the next scheduled attempt if its first deliver step fails", async () => {
    await jobs.failStep("deliver 1");
    const hook = hookOf();
    expect((await run(newBody(), hook)).delivery?.status).toBe("delivered");
    expect(await hook.received()).toHaveLength(1);
  });

  it("fails with `rate_limit_exceeded` if its caller never has fewer generations in progress", async () => {
    vi.spyOn(Ledger.prototype, "reserve").mockReturnValue("busy");
    const body = newBody();
    const failed = await run(body, hookOf());
    expect(failed).toMatchObject({ http: 429, error: { code: "rate_limit_exceeded" } });
    expect(await upstreamCalls(body.prompt)).toBe(0);
  });

  it.each([
    ["job_", 404],
    [`job_${"A".repeat(59)}`, 404],
  ])("cannot be polled by the unknown id %s: %i", async (id, status) => {
    expect((await poll(id)).http).toBe(status);
  });

  it("cannot be polled by an id that differs in its last character", async () => {
    const { job } = await run(newBody(), hookOf());
    const last = job.endsWith("A") ? "E" : "A";
    expect((await poll(`${job.slice(0, -1)}${last}`)).http).toBe(404);
  });
});

describe("an Idempotency-Key", () => {
  it("returns the same job for the same request, also concurrently", async () => {
    const body = { ...newBody(), webhook_url: hookOf().url };
    const key = { "idempotency-key": crypto.randomUUID() };
    const responses = await Promise.all([submit(body, key), submit(body, key), submit(body, key)]);
    const submitted = await Promise.all(responses.map((each) => each.json<JobBody>()));
    await jobs.done();
    const repeated = await (await submit(body, key)).json<JobBody>();
    expect(new Set([...submitted, repeated].map(({ id }) => id)).size).toBe(1);
    expect(repeated.status).toBe("completed");
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it.each([
    ["another prompt", { prompt: "another" }],
    ["another webhook_url", { webhook_url: `${inject("receiverUrl")}/other/200` }],
  ])("is rejected with 422 for %s", async (_, changes) => {
    const body = { ...newBody(), webhook_url: hookOf().url };
    const key = { "idempotency-key": crypto.randomUUID() };
    await submit(body, key);
    const response = await submit({ ...body, ...changes }, key);
    expect(await errorOf(response)).toEqual([422, "idempotency_key_reused", null]);
  });
});

describe("webhook_url", () => {
  it("requires the header `Prefer: respond-async`", async () => {
    const body = { ...newBody(), webhook_url: hookOf().url };
    const response = await post(body, {}, env);
    expect(await errorOf(response)).toEqual([400, "unsupported_parameter", "webhook_url"]);
  });

  it.each([
    ["http://127.0.0.2/", "invalid_value"],
    ["ftp://127.0.0.1/", "invalid_value"],
    ["http://user:secret@127.0.0.1/", "invalid_value"],
    ["nothing", "invalid_value"],
    ["", "invalid_value"],
    [7, "invalid_type"],
    [`http://127.0.0.1/${"a".repeat(2048)}`, "string_above_max_length"],
  ])("is rejected with 400 if it is %j: %s", async (url, code) => {
    const response = await submit({ ...newBody(), webhook_url: url });
    expect(await errorOf(response)).toEqual([400, code, "webhook_url"]);
  });

  it.each([
    "http://hooks.example.com/",
    "https://hooks.example.com:8443/",
    "https://user@hooks.example.com/",
    "https://1.2.3.4/",
    "https://0x7f.1/",
    "https://[::1]/",
    "https://localhost/",
    "https://hooks.internal/",
  ])("is rejected on a deployed Worker that allows all hosts if it is %s", async (url) => {
    const deployed = environment({
      LOCAL_DEVELOPMENT: "false",
      UPSTREAM_BASE_URL: "https://api.example.com/v1",
      WEBHOOK_HOSTS: "*",
    });
    const response = await submit({ ...newBody(), webhook_url: url }, {}, deployed);
    expect(await errorOf(response)).toEqual([400, "invalid_value", "webhook_url"]);
  });

  it("is rejected if no host is allowed, and if there is no signing secret", async () => {
    const body = { ...newBody(), webhook_url: hookOf().url };
    const noHost = await submit(body, {}, environment({ WEBHOOK_HOSTS: "" }));
    expect(await errorOf(noHost)).toEqual([400, "invalid_value", "webhook_url"]);
    const noSecret = await submit(body, {}, environment({ WEBHOOK_SIGNING_SECRET: "" }));
    expect(await errorOf(noSecret)).toEqual([500, "misconfigured", null]);
  });

  it("submits no job if it is null", async () => {
    const response = await submit({ ...newBody(), webhook_url: null });
    expect((await response.json<JobBody>()).id).toMatch(/^gen_/);
  });

  it("is rejected together with `stream`", async () => {
    const body = { prompt: "a", stream: true, webhook_url: hookOf().url };
    expect(await errorOf(await submit(body))).toEqual([400, "unsupported_parameter", "stream"]);
  });
});

describe("a webhook delivery", () => {
  it.each([
    ["500,503,200", ["failed", "failed", "delivered"], "delivered"],
    ["cut,200", ["unreachable", "delivered"], "delivered"],
    ["302-elsewhere,307-elsewhere,204", ["failed", "failed", "delivered"], "delivered"],
    ["410", ["gone"], "stopped"],
    ["400,410", ["failed", "gone"], "stopped"],
  ])(
    "repeats the same event for the responses %s: attempts %j, then `%s`",
    async (plan, outcomes, status) => {
      const hook = hookOf(plan);
      const { delivery } = await run(newBody(), hook);
      expect(delivery?.attempts.map(({ outcome }) => outcome)).toEqual(outcomes);
      expect(delivery?.status).toBe(status);
      expect(delivery).not.toHaveProperty("next_attempt_at");
      const received = await hook.received();
      expect(received).toHaveLength(outcomes.length);
      expect(new Set(received.map(({ headers }) => headers["webhook-id"]))).toEqual(
        new Set([delivery?.event]),
      );
      expect(new Set(received.map(({ body }) => body)).size).toBe(1);
    },
  );

  it("fails after eight attempts, and the completed job can still be polled", async () => {
    const hook = hookOf("500");
    const body = newBody();
    const completed = await run(body, hook);
    expect(completed).toMatchObject({
      http: 200,
      status: "completed",
      delivery: { status: "failed" },
    });
    expect(completed.delivery?.attempts).toHaveLength(8);
    expect(await hook.received()).toHaveLength(8);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});

describe("a restarted job Workflow", () => {
  it("neither generates nor delivers again after the webhook was delivered", async () => {
    const hook = hookOf();
    const body = newBody();
    const { id } = await submitToHook(body, hook);
    await eventually(async () => expect((await poll(id)).delivery?.status).toBe("delivered"));
    const readDelivery = vi.spyOn(JobBatch.prototype, "delivery");
    await (await bindings().IMAGE_JOB.get(id)).restart();
    await eventually(() => expect(readDelivery).toHaveBeenCalled());
    await jobs.done();
    expect(await hook.received()).toHaveLength(1);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("repeats the same delivery, without generating again, if an attempt was not recorded", async () => {
    const hook = hookOf();
    const body = newBody();
    const attempted = vi.spyOn(JobBatch.prototype, "attempted");
    for (let call = 1; call <= CALL_ATTEMPTS; call += 1) {
      attempted.mockImplementationOnce(() => {
        throw new Error("the machine failed");
      });
    }
    await submitToHook(body, hook);
    await jobs.done();
    const [first, second, ...more] = await hook.received();
    expect(more).toEqual([]);
    expect(second?.body).toBe(first?.body);
    expect(second?.headers["webhook-id"]).toBe(first?.headers["webhook-id"]);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("joins the generation in progress and delivers one webhook", async () => {
    const hook = hookOf();
    const body = newBody("[upstream delay=500]");
    const { id } = await submitToHook(body, hook);
    await eventually(async () => expect((await poll(id)).status).toBe("in_progress"));
    await (await bindings().IMAGE_JOB.get(id)).restart();
    await eventually(async () => expect(await hook.received()).toHaveLength(1));
    expect(await poll(id)).toMatchObject({ http: 200, status: "completed" });
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});
