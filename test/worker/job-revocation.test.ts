import { describe, expect, inject, it, vi } from "vitest";
import { Ledger } from "../../src/access/ledger.ts";
import { Revocations, revoke } from "../../src/access/revocation.ts";
import { verifyToken } from "../../src/access/token.ts";
import type { BatchView } from "../../src/contract/batch.ts";
import { JobBatch } from "../../src/jobs/object.ts";
import { newBody } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { TOKEN_SECRET } from "../support/vars.ts";
import { hookAt } from "../support/webhooks/hook.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  environment,
  errorOf,
  fetchWorker,
  testConfig,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { jobsWithoutPauses } from "../support/worker/job-workflows.ts";
import { setClockAhead } from "../support/worker/pass-time.ts";
import { newToken } from "../support/worker/token.ts";

const env = environment({ TOKEN_SECRET });
const BATCHES = "/v1/images/batches";

quietAndFresh({ expectsErrors: true });

// Registered after the hooks above, so that jobs end before the reset.
const jobs = jobsWithoutPauses();

type Headers = Record<string, string>;

async function submit<Body>(path: string, body: object, headers: Headers): Promise<Body> {
  const init = {
    method: "POST",
    headers: { "content-type": "application/json", prefer: "respond-async", ...headers },
    body: JSON.stringify(body),
  };
  const response = await fetchWorker(path, env, init);
  expect(response.status).toBe(202);
  return response.json();
}

/** Submits a job and returns its id. */
async function submitJob(body: object, headers: Headers): Promise<string> {
  const { url } = hookAt(inject("receiverUrl"));
  const job = { ...body, webhook_url: url };
  return (await submit<{ id: string }>("/v1/images/generations", job, headers)).id;
}

async function poll(id: string): Promise<Response> {
  return fetchWorker(`/v1/images/generations/${id}`, env);
}

/** Lets this number of generations begin. All others wait for their turn until the returned call. */
function limitConcurrency(count: number): () => void {
  const reserve: Ledger["reserve"] = Reflect.get(Ledger.prototype, "reserve");
  const begun = new Set<string>();
  const spy = vi.spyOn(Ledger.prototype, "reserve").mockImplementation(function (
    this: Ledger,
    id,
    ...rest
  ) {
    if (!begun.has(id) && begun.size >= count) return "busy";
    begun.add(id);
    return reserve.call(this, id, ...rest);
  });
  return () => spy.mockRestore();
}

/** Holds each job at the end of an attempt that made nothing, until the returned call. */
function holdWaitingJobs(): { held: () => number; release: () => void } {
  const endAttempt: JobBatch["endAttempt"] = Reflect.get(JobBatch.prototype, "endAttempt");
  const state = { isHeld: true, held: 0 };
  vi.spyOn(JobBatch.prototype, "endAttempt").mockImplementation(async function (
    this: JobBatch,
    id: string,
  ) {
    state.held += 1;
    while (state.isHeld) await scheduler.wait(20);
    return endAttempt.call(this, id);
  } as never);
  return { held: () => state.held, release: () => void (state.isHeld = false) };
}

describe("a batch of 60 whose token is revoked after its first images", () => {
  it("makes not one more image", { timeout: 60_000 }, async () => {
    const { headers, claims } = await newToken("web");
    const bodies = Array.from({ length: 60 }, () => newBody());
    const free = limitConcurrency(3);
    const waiting = holdWaitingJobs();
    const { id } = await submit<BatchView>(
      BATCHES,
      { requests: bodies.map((body, index) => ({ custom_id: String(index), body })) },
      headers,
    );
    const view = async () => (await fetchWorker(`${BATCHES}/${id}`, env)).json<BatchView>();
    await eventually(async () => expect((await view()).request_counts.completed).toBe(3));
    await eventually(() => expect(waiting.held()).toBe(57));
    await revoke(testConfig(), { jti: claims.jti });
    // An isolate remembers for a second that a token was valid.
    setClockAhead(2);
    free();
    waiting.release();
    await jobs.done();
    const { status, request_counts: counts, results } = await view();
    expect(status).toBe("completed");
    expect(counts).toMatchObject({ total: 60, completed: 3, failed: 57 });
    const codes = results.flatMap(({ error }) => error?.code ?? []);
    expect(new Set(codes)).toEqual(new Set(["invalid_token"]));
    const calls = await Promise.all(bodies.map(({ prompt }) => upstreamCalls(prompt)));
    expect(calls.reduce((sum, count) => sum + count)).toBe(3);
  });
});

describe("a job", () => {
  it("completes if its token has merely expired since its submission", async () => {
    const free = limitConcurrency(0);
    const waiting = holdWaitingJobs();
    const { headers, token } = await newToken("web", {}, 2);
    const id = await submitJob(newBody(), headers);
    await eventually(async () => {
      expect(waiting.held()).toBe(1);
      await expect(verifyToken(token, [TOKEN_SECRET])).rejects.toThrow("token_expired");
    });
    free();
    waiting.release();
    await jobs.done();
    expect((await poll(id)).status).toBe(200);
  });

  it("is delivered if its token is revoked while its generation is in progress", async () => {
    const { headers, claims } = await newToken("web");
    const body = newBody("[upstream delay=1500]");
    const id = await submitJob(body, headers);
    await eventually(async () => expect(await (await poll(id)).text()).toContain("in_progress"));
    await revoke(testConfig(), { jti: claims.jti });
    await jobs.done();
    expect((await poll(id)).status).toBe(200);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it.each([
    ["after it is bound", true],
    ["before its generation is recorded", false],
  ])(
    "is delivered if its step breaks %s, and its token is revoked meanwhile",
    async (_, isBound) => {
      const found: JobBatch["found"] = Reflect.get(JobBatch.prototype, "found");
      const { headers, claims } = await newToken("web");
      // oxlint-disable-next-line typescript/no-misused-promises -- the RPC awaits the promise
      vi.spyOn(JobBatch.prototype, "found").mockImplementationOnce(async function (
        this: JobBatch,
        id: string,
        generationId: string,
      ) {
        if (isBound) found.call(this, id, generationId);
        await revoke(testConfig(), { jti: claims.jti });
        setClockAhead(2);
        throw new Error("the machine failed");
      });
      const body = newBody();
      const id = await submitJob(body, headers);
      await jobs.done();
      expect((await poll(id)).status).toBe(200);
      expect(await upstreamCalls(body.prompt)).toBe(1);
    },
  );

  it("is not started while its revocation cannot be looked up, and completes later", async () => {
    const { headers } = await newToken("web");
    const body = newBody();
    const lookup = vi.spyOn(Revocations.prototype, "isRevoked");
    const task: JobBatch["task"] = Reflect.get(JobBatch.prototype, "task");
    vi.spyOn(JobBatch.prototype, "task").mockImplementationOnce(function (this: JobBatch, id) {
      lookup.mockImplementationOnce(() => {
        throw new Error("the object is unreachable");
      });
      // The isolate remembers the lookup at the submission for a second.
      setClockAhead(5);
      return task.call(this, id);
    });
    const id = await submitJob(body, headers);
    await jobs.done();
    expect((await poll(id)).status).toBe(200);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("of version 0.1.0, which stored no token, runs as before", async () => {
    const task: JobBatch["task"] = Reflect.get(JobBatch.prototype, "task");
    vi.spyOn(JobBatch.prototype, "task").mockImplementation(function (this: JobBatch, id) {
      const input = task.call(this, id);
      if (input === undefined) return undefined;
      const { principal, rateKey, payer } = input.requester;
      return { ...input, requester: { principal, rateKey, payer } };
    });
    const { headers, claims } = await newToken("web");
    const id = await submitJob(newBody("[upstream delay=100]"), headers);
    await revoke(testConfig(), { jti: claims.jti });
    await jobs.done();
    expect((await poll(id)).status).toBe(200);
  });

  it("that ended because of a revocation is 401 when it is polled", async () => {
    limitConcurrency(0);
    const waiting = holdWaitingJobs();
    const { headers, claims } = await newToken("web");
    const id = await submitJob(newBody(), headers);
    await eventually(() => expect(waiting.held()).toBe(1));
    await revoke(testConfig(), { sub: claims.sub });
    setClockAhead(2);
    waiting.release();
    await jobs.done();
    const polled = await poll(id);
    expect(await polled.clone().json()).toMatchObject({ job: id, status: "failed" });
    expect(await errorOf(polled)).toEqual([401, "invalid_token", null]);
  });
});
