import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import {
  learnedTokens,
  releaseBudget,
  reserveBudget,
  settleBudget,
  spentToday,
} from "../../src/access/accounts.ts";
import { claimOpenJobs } from "../../src/access/job-limit.ts";
import { isRevoked, revoke } from "../../src/access/revocation.ts";
import { WITHOUT_WAITING } from "../../src/generation/protocol.ts";
import { TimedOut, within } from "../../src/lib/within.ts";
import { newBody } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { TOKEN_SECRET } from "../support/vars.ts";
import { CLIENTS, OBJECTS, setKvFault, type KvMethod } from "../support/worker/edge-kv.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { failOnce, hangAfter, shortenLimits } from "../support/worker/hanging-calls.ts";
import {
  ADMIN,
  bindings,
  changeEnvironment,
  copied,
  environment,
  errorOf,
  fetchWorker,
  post,
  sharedObject,
  testConfig,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { newToken } from "../support/worker/token.ts";

quietAndFresh({ expectsErrors: true });

const PATH = "/v1/images/generations";
const ANN = { caller: "ann", account: "subject/ann", token: undefined };

describe("a wait for work", () => {
  it("returns the result of work that ends in time", async () => {
    expect(await within(10_000, Promise.resolve("result"))).toBe("result");
  });

  it("passes on the error of work that fails in time", async () => {
    await expect(within(10_000, Promise.reject(new Error("broken")))).rejects.toThrow("broken");
  });

  it("ends after its limit, and passes the late result on", async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const late: string[] = [];
    const waiting = within(1, promise, (result) => late.push(result));
    await expect(waiting).rejects.toThrow(TimedOut);
    resolve("late");
    await eventually(() => expect(late).toEqual(["late"]));
  });
});

describe("a KV that never responds", () => {
  it.each(["get", "getWithMetadata"] satisfies KvMethod[])(
    "to %s is a miss, so that the image is generated once and returned",
    async (method) => {
      shortenLimits();
      setKvFault(CLIENTS, method, "hangs");
      const body = { ...newBody(), response_format: "b64_json" };
      const responses = [await post(body), await post(body)];
      expect(responses.map(({ status }) => status)).toEqual([200, 200]);
      expect(await upstreamCalls(body.prompt)).toBe(1);
    },
  );

  it("does not hide a generation from a lookup by its id", async () => {
    shortenLimits();
    const body = newBody();
    const { id } = await (await post(body)).json<{ id: string }>();
    setKvFault(CLIENTS, "getWithMetadata", "hangs");
    expect((await fetchWorker(`${PATH}/${id}`)).status).toBe(200);
    expect((await fetchWorker(`/v1/images/${id}/0.png`)).status).toBe(200);
  });

  it("to a write delays only the copy, which is made once KV responds", async () => {
    shortenLimits();
    setKvFault(OBJECTS, "put", "hangs");
    const body = newBody();
    expect((await post(body)).status).toBe(200);
    expect((await bindings().CACHE.list()).keys).toEqual([]);
    setKvFault(OBJECTS, "put", undefined);
    await copied();
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("does not delay the next generation of a request that moderation blocked", async () => {
    shortenLimits();
    setKvFault(OBJECTS, "put", "hangs");
    const body = newBody("[upstream status=400 code=moderation_blocked times=1]");
    expect(await errorOf(await post(body))).toEqual([400, "moderation_blocked", null]);
    const again = await post(body, { "cache-control": "no-cache" });
    expect(again.status).toBe(200);
  });

  it("lets a deletion end, which the object completes once KV responds", async () => {
    shortenLimits();
    const body = newBody();
    const { id } = await (await post(body)).json<{ id: string }>();
    await copied();
    setKvFault(CLIENTS, "delete", "hangs");
    setKvFault(OBJECTS, "delete", "hangs");
    const removal = { method: "DELETE", headers: ADMIN };
    expect((await fetchWorker(`${PATH}/${id}`, environment(), removal)).status).toBe(500);
    setKvFault(CLIENTS, "delete", undefined);
    setKvFault(OBJECTS, "delete", undefined);
    await eventually(async () => expect((await bindings().CACHE.list()).keys).toEqual([]));
  });
});

describe("an account that never responds", () => {
  it("fails the start for all that wait for it, and charges nothing", async () => {
    shortenLimits();
    const body = newBody();
    const object = await sharedObject(body);
    await changeEnvironment(object, { BUDGET: hangAfter(bindings().BUDGET, "reserve") });
    const responses = await Promise.all([post(body), post(body), post(body)]);
    expect(responses.map(({ status }) => status)).toEqual([500, 500, 500]);
    await changeEnvironment(object, {});
    await eventually(async () => expect(await spentToday(testConfig())).toBe(0));
    expect((await post(body)).status).toBe(200);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("to a settlement does not delay the copy or the next generation", async () => {
    shortenLimits();
    const body = newBody("[upstream status=504 times=1]");
    const object = await sharedObject(body);
    await changeEnvironment(object, { BUDGET: hangAfter(bindings().BUDGET, "settle") });
    expect((await post(body)).status).toBe(502);
    expect((await post(body)).status).toBe(200);
    await copied();
  });

  it("fails a lookup of the money instead of holding it", async () => {
    shortenLimits();
    const BUDGET = hangAfter(bindings().BUDGET, "spentToday");
    await expect(spentToday(testConfig({ BUDGET }))).rejects.toThrow(TimedOut);
  });
});

describe("another binding that never responds", () => {
  it("fails a request with a token if it is the revocations", async () => {
    shortenLimits();
    const vars = {
      ACCESS: "token",
      TOKEN_SECRET,
      REVOCATIONS: hangAfter(bindings().REVOCATIONS, "isRevoked"),
    };
    const { headers } = await newToken("ann");
    expect((await post(newBody(), headers, environment(vars))).status).toBe(500);
  });

  it("fails a request with an Idempotency-Key if it is the key's object", async () => {
    shortenLimits();
    const vars = { IDEMPOTENCY: hangAfter(bindings().IDEMPOTENCY, "read") };
    const headers = { "idempotency-key": "key" };
    expect((await post(newBody(), headers, environment(vars))).status).toBe(500);
  });

  it("fails a request if it is the rate limit", async () => {
    shortenLimits();
    const RATE_LIMIT_REQUESTS = { limit: () => new Promise<never>(() => undefined) };
    expect((await post(newBody(), {}, environment({ RATE_LIMIT_REQUESTS }))).status).toBe(500);
  });

  it("fails a lookup of a job if it is the job's object", async () => {
    shortenLimits();
    const job = await post(newBody(), { prefer: "respond-async" });
    const { id } = await job.json<{ id: string }>();
    const vars = { GENERATION: hangAfter(bindings().GENERATION, "progress") };
    setKvFault(CLIENTS, "getWithMetadata", "fails");
    expect((await fetchWorker(`${PATH}/${id}`, environment(vars))).status).toBe(500);
  });
});

describe("an object that was just moved", () => {
  const name = "moved";
  const moved: [string, (vars: Record<string, unknown>) => Promise<unknown>, string, string][] = [
    [
      "settles a reservation",
      (vars) => settleBudget(testConfig(vars), ANN, name, { spent: 1, model: "m", images: 1 }),
      "BUDGET",
      "settle",
    ],
    [
      "releases a reservation",
      (vars) => releaseBudget(testConfig(vars), ANN, name),
      "BUDGET",
      "release",
    ],
    [
      "reserves an amount",
      (vars) => reserveBudget(testConfig(vars), ANN, name, 1),
      "BUDGET",
      "reserve",
    ],
    [
      "lists the learned tokens",
      (vars) => learnedTokens(testConfig(vars)),
      "BUDGET",
      "learnedTokens",
    ],
    [
      "counts open jobs",
      (vars) => claimOpenJobs(testConfig(vars), "subject/ann", "submission", 1),
      "BUDGET",
      "claimJobs",
    ],
    ["revokes a token", (vars) => revoke(testConfig(vars), { jti: name }), "REVOCATIONS", "revoke"],
    [
      "looks a revocation up",
      (vars) => isRevoked(testConfig(vars), { jti: crypto.randomUUID(), sub: "ann", iat: 1 }),
      "REVOCATIONS",
      "isRevoked",
    ],
  ];

  it.each(moved)("%s at the next call", async (_, call, binding, method) => {
    const objects = Reflect.get(bindings(), binding) as unknown as DurableObjectNamespace;
    await expect(call({ [binding]: failOnce(objects, method) })).resolves.not.toThrow();
  });

  it.each(["accept", "job"])("stores and returns a job if %s failed", async (method) => {
    const vars = { JOBS: failOnce(bindings().JOBS, method) };
    const response = await post(newBody(), { prefer: "respond-async" }, environment(vars));
    expect(response.status).toBe(202);
  });
});

describe("a queued generation whose alarm is lost", () => {
  async function queuedWithoutAlarm(body: object) {
    const object = await sharedObject(body);
    await runInDurableObject(object, (_, { storage }) => {
      // The alarm of the start is lost.
      Reflect.set(storage, "setAlarm", () => Promise.resolve());
    });
    const response = await post(body, { prefer: "respond-async" });
    const { id } = await response.json<{ id: string }>();
    await runInDurableObject(object, async (_, { storage }) => {
      Reflect.deleteProperty(storage, "setAlarm");
      expect(await storage.getAlarm()).toBeNull();
    });
    return { object, id };
  }

  it("runs once another request joins it", async () => {
    const body = newBody();
    await queuedWithoutAlarm(body);
    expect((await post(body)).status).toBe(200);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("runs once it is polled", async () => {
    const body = newBody();
    const { object, id } = await queuedWithoutAlarm(body);
    expect((await object.progress(id, WITHOUT_WAITING))?.state).toBe("queued");
    await copied();
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("runs once a deletion of it is rejected", async () => {
    const body = newBody();
    const { object, id } = await queuedWithoutAlarm(body);
    const removal = { method: "DELETE", headers: ADMIN };
    const response = await fetchWorker(`${PATH}/${id}`, environment(), removal);
    expect(await errorOf(response)).toEqual([409, "generation_in_progress", null]);
    await eventually(async () =>
      expect((await object.progress(id, WITHOUT_WAITING))?.state).toBe("done"),
    );
  });
});
