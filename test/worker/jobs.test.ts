import { describe, expect, inject, it, vi } from "vitest";
import { Ledger } from "../../src/access/ledger.ts";
import { IdempotencyKey } from "../../src/generation/idempotency.ts";
import { Jobs } from "../../src/jobs/object.ts";
import { JobsStorage } from "../../src/jobs/storage.ts";
import { eventually } from "../support/eventually.ts";
import { eventIn, hookAt, type Hook } from "../support/webhooks/hook.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  callWorker,
  bindings,
  changeEnvironment,
  environment,
  errorOf,
  generationRequest,
  sharedObject,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { jobsWithoutPauses } from "../support/worker/job-workflows.ts";
import { newBody } from "../support/bodies.ts";

const env = environment();

quietAndFresh();

// After the hooks above, so that jobs are over before everything is reset.
const jobs = jobsWithoutPauses();

interface JobAnswer {
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

function order(body: object, headers: Record<string, string> = {}, environment = env) {
  return callWorker(generationRequest(body, { prefer: "respond-async", ...headers }), environment);
}

async function poll(id: string, query = ""): Promise<JobAnswer & { http: number }> {
  const url = `https://gateway.example/v1/images/generations/${id}${query}`;
  const response = await callWorker(new Request(url), env);
  return { ...(await response.json<JobAnswer>()), http: response.status };
}

async function ordered(body: object, hook: Hook): Promise<JobAnswer> {
  const response = await order({ ...body, webhook_url: hook.url });
  expect(response.status).toBe(202);
  return response.json();
}

/** Has a job run to its end. */
async function run(body: object, hook: Hook): Promise<JobAnswer & { http: number }> {
  const { id } = await ordered(body, hook);
  await jobs.done();
  return poll(id);
}

describe("a job", () => {
  it("is taken at once, and says where it will be", async () => {
    const hook = hookOf();
    const response = await order({ ...newBody(), webhook_url: hook.url });
    expect(response.status).toBe(202);
    const job = await response.json<JobAnswer>();
    expect(job).toMatchObject({
      id: expect.stringMatching(/^job_[\w-]{59}$/),
      job: job.id,
      status: "queued",
      delivery: { event: expect.stringMatching(/^evt_/), status: "pending", attempts: [] },
    });
    expect(response.headers.get("location")).toBe(`/v1/images/generations/${job.id}`);
    expect(response.headers.get("preference-applied")).toBe("respond-async");
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
  });

  it("calls back once when it is done, with pictures by URL", async () => {
    const hook = hookOf();
    const body = newBody();
    const done = await run({ ...body, response_format: "b64_json" }, hook);
    const [received, ...more] = await hook.received();
    expect(more).toEqual([]);
    const event = eventIn(received);
    expect(event).toMatchObject({
      id: received?.headers["webhook-id"],
      object: "event",
      type: "image.generation.completed",
      data: { job: done.job, status: "completed", id: done.id, model: "dall-e-2" },
    });
    expect(received?.body).not.toContain("b64_json");
    const { data } = event.data as { data: { url: string }[] };
    const picture = await callWorker(new Request(data[0]?.url ?? ""), env);
    expect(picture.headers.get("content-type")).toBe("image/png");
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("answers a poll with the generation's own answer, as the request wanted it", async () => {
    const body = newBody();
    const done = await run({ ...body, response_format: "b64_json" }, hookOf());
    expect(done).toMatchObject({
      http: 200,
      object: "chat.completion",
      id: expect.stringMatching(/^gen_/),
      status: "completed",
      data: [{ b64_json: expect.any(String) }],
      delivery: { status: "delivered", attempts: [{ outcome: "delivered", status: 200 }] },
    });
    const byUrl = await poll(done.job, "?response_format=url");
    expect(byUrl.data?.[0]?.url).toMatch(/^https:\/\/gateway\.example\/v1\/images\/gen_/);
  });

  it("of a picture that is there already costs nothing", async () => {
    const body = newBody();
    await callWorker(generationRequest(body), env);
    const hook = hookOf();
    expect((await run(body, hook)).status).toBe("completed");
    expect(await hook.received()).toHaveLength(1);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("is waited for by who prefers to", async () => {
    const { id } = await ordered(newBody("[upstream delay=300]"), hookOf());
    await eventually(async () => expect((await poll(id)).status).toBe("in_progress"));
    const url = `https://gateway.example/v1/images/generations/${id}`;
    const response = await callWorker(new Request(url, { headers: { prefer: "wait=10" } }), env);
    expect([response.status, response.headers.get("preference-applied")]).toEqual([200, "wait=10"]);
  });

  it("that the upstream refuses fails, and says so", async () => {
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

  it("that there is no money for fails with that error, and the upstream is not called", async () => {
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

  it("waits while its caller has too many going on", async () => {
    const reserve = vi.spyOn(Ledger.prototype, "reserve");
    for (let refusals = 0; refusals < 5; refusals += 1) reserve.mockReturnValueOnce("busy");
    const body = newBody();
    expect(await run(body, hookOf())).toMatchObject({ http: 200, status: "completed" });
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("waits while the upstream has too many", async () => {
    const body = newBody("[upstream status=429 retry-after=60 times=4]");
    expect(await run(body, hookOf())).toMatchObject({ http: 200, status: "completed" });
    expect(await upstreamCalls(body.prompt)).toBeGreaterThan(4);
  });

  it("survives trouble with what binds it to its generation, and pays once", async () => {
    const trouble = () => {
      throw new Error("reset because its code was updated");
    };
    vi.spyOn(IdempotencyKey.prototype, "claim").mockImplementationOnce(trouble);
    vi.spyOn(IdempotencyKey.prototype, "bind").mockImplementationOnce(trouble);
    const body = newBody();
    expect(await run(body, hookOf())).toMatchObject({ http: 200, status: "completed" });
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("survives trouble with the store of its own end, and tells of it", async () => {
    const hook = hookOf();
    const { id } = await ordered(newBody("[upstream delay=300]"), hook);
    vi.spyOn(JobsStorage.prototype, "saveOrder").mockImplementationOnce(() => {
      throw new Error("the disk is full");
    });
    await jobs.done();
    expect((await poll(id)).delivery?.status).toBe("delivered");
    expect(await hook.received()).toHaveLength(1);
  });

  it("whose making cannot be seen to its end fails, and says so", async () => {
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

  it("whose call back cannot be made takes the next attempt of the schedule", async () => {
    await jobs.failStep("deliver 1");
    const hook = hookOf();
    expect((await run(newBody(), hook)).delivery?.status).toBe("delivered");
    expect(await hook.received()).toHaveLength(1);
  });

  it("does not wait for ever", async () => {
    vi.spyOn(Ledger.prototype, "reserve").mockReturnValue("busy");
    const body = newBody();
    const failed = await run(body, hookOf());
    expect(failed).toMatchObject({ http: 429, error: { code: "rate_limit_exceeded" } });
    expect(await upstreamCalls(body.prompt)).toBe(0);
  });

  it.each([
    ["job_", 404],
    [`job_${"A".repeat(59)}`, 404],
  ])("%s is none", async (id, status) => {
    expect((await poll(id)).http).toBe(status);
  });

  it("is known by all of its id, and not by its object's part alone", async () => {
    const { job } = await run(newBody(), hookOf());
    const last = job.endsWith("A") ? "E" : "A";
    expect((await poll(`${job.slice(0, -1)}${last}`)).http).toBe(404);
  });
});

describe("an Idempotency-Key", () => {
  it("is the same job, at the same moment too", async () => {
    const body = { ...newBody(), webhook_url: hookOf().url };
    const key = { "idempotency-key": crypto.randomUUID() };
    const responses = await Promise.all([order(body, key), order(body, key), order(body, key)]);
    const taken = await Promise.all(responses.map((each) => each.json<JobAnswer>()));
    await jobs.done();
    const again = await (await order(body, key)).json<JobAnswer>();
    expect(new Set([...taken, again].map(({ id }) => id)).size).toBe(1);
    expect(again.status).toBe("completed");
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it.each([
    ["another request", { prompt: "another" }],
    ["another address", { webhook_url: `${inject("receiverUrl")}/other/200` }],
  ])("of %s is refused", async (_, changes) => {
    const body = { ...newBody(), webhook_url: hookOf().url };
    const key = { "idempotency-key": crypto.randomUUID() };
    await order(body, key);
    const response = await order({ ...body, ...changes }, key);
    expect(await errorOf(response)).toEqual([422, "idempotency_key_reused", null]);
  });
});

describe("webhook_url", () => {
  it("needs that nobody waits", async () => {
    const body = { ...newBody(), webhook_url: hookOf().url };
    const response = await callWorker(generationRequest(body), env);
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
  ])("%j is refused", async (url, code) => {
    const response = await order({ ...newBody(), webhook_url: url });
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
  ])("%s is refused on a deployed Worker, whatever hosts are allowed", async (url) => {
    const deployed = environment({
      LOCAL_DEVELOPMENT: "false",
      UPSTREAM_BASE_URL: "https://api.example.com/v1",
      WEBHOOK_HOSTS: "*",
    });
    const response = await order({ ...newBody(), webhook_url: url }, {}, deployed);
    expect(await errorOf(response)).toEqual([400, "invalid_value", "webhook_url"]);
  });

  it("is refused where no host is allowed, and where there is nothing to sign with", async () => {
    const body = { ...newBody(), webhook_url: hookOf().url };
    const noHost = await order(body, {}, environment({ WEBHOOK_HOSTS: "" }));
    expect(await errorOf(noHost)).toEqual([400, "invalid_value", "webhook_url"]);
    const noSecret = await order(body, {}, environment({ WEBHOOK_SIGNING_SECRET: "" }));
    expect(await errorOf(noSecret)).toEqual([500, "misconfigured", null]);
  });

  it("may be null, which is the same as absent", async () => {
    const response = await order({ ...newBody(), webhook_url: null });
    expect((await response.json<JobAnswer>()).id).toMatch(/^gen_/);
  });

  it("does not go with a stream", async () => {
    const body = { prompt: "a", stream: true, webhook_url: hookOf().url };
    expect(await errorOf(await order(body))).toEqual([400, "unsupported_parameter", "stream"]);
  });
});

describe("a receiver", () => {
  it.each([
    ["500,503,200", ["failed", "failed", "delivered"], "delivered"],
    ["cut,200", ["unreachable", "delivered"], "delivered"],
    ["302-elsewhere,307-elsewhere,204", ["failed", "failed", "delivered"], "delivered"],
    ["410", ["gone"], "stopped"],
    ["400,410", ["failed", "gone"], "stopped"],
  ])("that does %s is tried so often: %j", async (plan, outcomes, status) => {
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
  });

  it("that never takes it leaves the job there to be asked for", async () => {
    const hook = hookOf("500");
    const body = newBody();
    const done = await run(body, hook);
    expect(done).toMatchObject({ http: 200, status: "completed", delivery: { status: "failed" } });
    expect(done.delivery?.attempts).toHaveLength(8);
    expect(await hook.received()).toHaveLength(8);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});

describe("an engine that begins again", () => {
  it("after all of it does nothing again: neither make nor tell", async () => {
    const hook = hookOf();
    const body = newBody();
    const { id } = await ordered(body, hook);
    await eventually(async () => expect((await poll(id)).delivery?.status).toBe("delivered"));
    const asked = vi.spyOn(Jobs.prototype, "delivery");
    await (await bindings().IMAGE_JOB.get(id)).restart();
    await eventually(() => expect(asked).toHaveBeenCalled());
    await jobs.done();
    expect(await hook.received()).toHaveLength(1);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("in the middle of telling tells the same again, of the picture that was made", async () => {
    const hook = hookOf();
    const body = newBody();
    vi.spyOn(Jobs.prototype, "attempted").mockImplementationOnce(() => {
      throw new Error("as if the machine were gone");
    });
    await ordered(body, hook);
    await jobs.done();
    const [first, second, ...more] = await hook.received();
    expect(more).toEqual([]);
    expect(second?.body).toBe(first?.body);
    expect(second?.headers["webhook-id"]).toBe(first?.headers["webhook-id"]);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("while the picture is being made waits for the one that goes on", async () => {
    const hook = hookOf();
    const body = newBody("[upstream delay=500]");
    const { id } = await ordered(body, hook);
    await eventually(async () => expect((await poll(id)).status).toBe("in_progress"));
    await (await bindings().IMAGE_JOB.get(id)).restart();
    await eventually(async () => expect(await hook.received()).toHaveLength(1));
    expect(await poll(id)).toMatchObject({ http: 200, status: "completed" });
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});
