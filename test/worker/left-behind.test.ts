import { listDurableObjectIds, runDurableObjectAlarm } from "cloudflare:test";
import { describe, expect, inject, it, vi } from "vitest";
import type { IdempotencyKey } from "../../src/generation/idempotency.ts";
import { WITHOUT_WAITING } from "../../src/generation/protocol.ts";
import type { JobBatch } from "../../src/jobs/object.ts";
import { ImageJob } from "../../src/jobs/workflow.ts";
import { DAY_SECONDS } from "../../src/lib/clock.ts";
import { newIdInObject, objectIdOf } from "../../src/lib/object-id.ts";
import { newBody } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { hookAt } from "../support/webhooks/hook.ts";
import { runAccountAlarms } from "../support/worker/accounts.ts";
import { failAccounts } from "../support/worker/failing-accounts.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  ADMIN,
  bindings,
  changeEnvironment,
  environment,
  errorOf,
  fetchWorker,
  post,
  sharedObject,
} from "../support/worker/harness.ts";
import { storesAnything, storingObjects } from "../support/worker/object-storage.ts";
import { passTime, setClockAhead } from "../support/worker/pass-time.ts";

quietAndFresh({ expectsErrors: true });

const GENERATIONS = "/v1/images/generations";
const ATTEMPT = { at: 1, outcome: "delivered", retryAfterSeconds: undefined } as const;
const CLAIM = { requestKey: "key", fingerprint: "fingerprint" };

function keyObject(): DurableObjectStub<IdempotencyKey> {
  const objects = bindings().IDEMPOTENCY;
  return objects.get(objects.newUniqueId());
}

function batchObject(): DurableObjectStub<JobBatch> {
  const objects = bindings().JOBS;
  return objects.get(objects.newUniqueId());
}

/** Expects that no Generation, IdempotencyKey and Jobs object stores anything. */
async function expectNothingStored(): Promise<void> {
  const { GENERATION, IDEMPOTENCY, JOBS } = bindings();
  for (const objects of [GENERATION, IDEMPOTENCY, JOBS] as DurableObjectNamespace[]) {
    expect(await storingObjects(objects)).toEqual([]);
  }
}

describe("an Idempotency-Key that no generation holds", () => {
  it("stores nothing when it is read, or freed", async () => {
    const key = keyObject();
    expect(await key.read()).toBeUndefined();
    await key.free("gen_unknown");
    expect(await storesAnything(key)).toBe(false);
  });

  it("stores nothing after it was held and freed, and nothing if it is freed again", async () => {
    const key = keyObject();
    await key.hold({ ...CLAIM, generationId: "gen_1" });
    await key.free("gen_other");
    expect(await storesAnything(key)).toBe(true);
    await key.free("gen_1");
    await key.free("gen_1");
    expect(await storesAnything(key)).toBe(false);
  });
});

describe("an Idempotency-Key that a generation holds", () => {
  it.each<[string, (key: DurableObjectStub<IdempotencyKey>) => Promise<unknown>]>([
    ["held", (key) => key.hold({ ...CLAIM, generationId: "gen_1" })],
    ["claimed by version 0.1.0", (key) => key.claim("key", "fingerprint")],
    [
      "bound by version 0.1.0 after its claim has expired",
      (key) => key.bind("key", "gen_1", "fingerprint"),
    ],
  ])("is deleted by its alarm: %s", async (_, hold) => {
    const key = keyObject();
    await hold(key);
    expect(await storesAnything(key)).toBe(true);
    setClockAhead(DAY_SECONDS + 1);
    expect(await runDurableObjectAlarm(key)).toBe(true);
    expect(await storesAnything(key)).toBe(false);
  });
});

describe("a start that is refused", () => {
  const key = () => ({ "idempotency-key": crypto.randomUUID() });

  it.each<[string, Record<string, string>]>([
    ["without an Idempotency-Key", {}],
    ["with an Idempotency-Key", key()],
  ])("leaves nothing in any object of the request %s", async (_, headers) => {
    const body = newBody();
    await changeEnvironment(await sharedObject(body), { BUDGET_USD_PER_DAY: "0.000001" });
    expect(await errorOf(await post(body, headers))).toEqual([429, "budget_exceeded", null]);
    await eventually(expectNothingStored);
  });

  it("by an account that is unreachable leaves nothing once the account is back", async () => {
    failAccounts(true);
    expect((await post(newBody(), key())).status).toBe(500);
    failAccounts(false);
    await eventually(async () => {
      await passTime(60);
      await expectNothingStored();
    });
    setClockAhead(60 * 60 + 1);
    await runAccountAlarms();
    expect(await storingObjects(bindings().BUDGET)).toEqual([]);
  });
});

describe("a lookup", () => {
  it("of a generation, an image or a job that no object has stores nothing", async () => {
    const generation = newIdInObject("gen", (await sharedObject(newBody())).id.toString());
    const job = newIdInObject("job", batchObject().id.toString());
    const batch = newIdInObject("batch", batchObject().id.toString());
    for (const [path, init] of [
      [`${GENERATIONS}/${generation}`, {}],
      [`${GENERATIONS}/${generation}`, { method: "DELETE", headers: ADMIN }],
      [`/v1/images/${generation}/0.png`, {}],
      [`${GENERATIONS}/${job}`, {}],
      [`${GENERATIONS}/${job}`, { method: "DELETE", headers: ADMIN }],
      [`/v1/images/batches/${batch}`, {}],
    ] as const) {
      expect((await fetchWorker(path, environment(), init)).status, path).toBe(404);
    }
    const onlyIfCached = { "cache-control": "only-if-cached" };
    const headers = { ...onlyIfCached, "idempotency-key": crypto.randomUUID() };
    expect((await post(newBody(), headers)).status).toBe(504);
    const object = await sharedObject(newBody());
    expect(await object.progress(generation, WITHOUT_WAITING)).toBeUndefined();
    await expectNothingStored();
  });
});

describe("a submission", () => {
  /** Submits to a path. The Workflows of the jobs do not run. */
  function submit(path: string, body: object, env = environment()): Promise<Response> {
    vi.spyOn(ImageJob.prototype, "run").mockResolvedValue();
    return fetchWorker(path, env, {
      method: "POST",
      headers: { "content-type": "application/json", prefer: "respond-async" },
      body: JSON.stringify(body),
    });
  }

  it("that is refused stores nothing, in the caller's account neither", async () => {
    const env = environment({ MAX_OPEN_JOBS_PER_CALLER: 1 });
    const requests = ["a", "b"].map((custom_id) => ({ custom_id, body: newBody() }));
    const response = await submit("/v1/images/batches", { requests }, env);
    expect(await errorOf(response)).toEqual([429, "rate_limit_exceeded", null]);
    await expectNothingStored();
    expect(await storingObjects(bindings().BUDGET)).toEqual([]);
  });

  it("leaves nothing after seven days, whatever its Workflow still calls", async () => {
    const { url } = hookAt(inject("receiverUrl"));
    const response = await submit(GENERATIONS, { ...newBody(), webhook_url: url });
    const { job } = await response.json<{ job: string }>();
    const objects = bindings().JOBS;
    const object = objects.get(objects.idFromString(String(objectIdOf("job", job))));
    expect(await storesAnything(object)).toBe(true);
    setClockAhead(7 * DAY_SECONDS + 1);
    expect(await runDurableObjectAlarm(object)).toBe(true);
    expect(await object.task(job)).toBeUndefined();
    await object.found(job, "gen_1");
    expect(await object.endAttempt(job)).toBe(true);
    await object.finish(job, { failure: { code: "internal_error" } });
    await object.attempted({ ...ATTEMPT, status: 200 }, undefined);
    expect(await object.cancel(job, "admin")).toBeUndefined();
    await runAccountAlarms();
    await expectNothingStored();
    expect(await storingObjects(bindings().BUDGET)).toEqual([]);
  });
});

describe("the objects of a gateway that is used no more", () => {
  it("store nothing after two months", async () => {
    const headers = { "idempotency-key": crypto.randomUUID() };
    expect((await post(newBody(), headers)).status).toBe(200);
    const body = newBody();
    expect((await post(body)).status).toBe(200);
    expect((await post(newBody("[upstream status=400]"))).status).toBe(400);
    expect((await post(newBody("[upstream answer=html]"))).status).toBe(502);
    const { GENERATION, IDEMPOTENCY, JOBS, BUDGET } = bindings();
    const namespaces = [GENERATION, IDEMPOTENCY, JOBS, BUDGET] as DurableObjectNamespace[];
    await eventually(async () => {
      setClockAhead(5 * DAY_SECONDS);
      for (const objects of namespaces) {
        for (const id of await listDurableObjectIds(objects)) {
          await runDurableObjectAlarm(objects.get(id));
        }
      }
      for (const objects of namespaces) expect(await storingObjects(objects)).toEqual([]);
    });
  });
});
