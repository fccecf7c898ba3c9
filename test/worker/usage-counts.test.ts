import { listDurableObjectIds, runInDurableObject } from "cloudflare:test";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import {
  reserveBudget,
  settleBudget,
  usageOf,
  type ChargedAccounts,
} from "../../src/access/accounts.ts";
import { Tables } from "../../src/access/tables.ts";
import { UsageCounter, countUsage } from "../../src/access/usage-counts.ts";
import { UsageTable, type UsageRow } from "../../src/access/usage.ts";
import { CALL_ATTEMPTS } from "../../src/lib/object-client.ts";
import { newPrompt } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import {
  countingObjects,
  type CountCall,
  type WriteFault,
} from "../support/worker/counting-objects.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  ADMIN,
  bindings,
  copied,
  environment,
  fetchWorker,
  post,
  testConfig,
} from "../support/worker/harness.ts";
import { setClockAhead, skipWaits } from "../support/worker/pass-time.ts";

const log = quietAndFresh({ expectsErrors: true });

const DAY_SECONDS = 24 * 60 * 60;
const HIT = { caller: "ann", model: "m", hits: 1, collapsed: 0, saved: 7 };
const ANN: ChargedAccounts = { caller: "ann", account: "subject/ann", token: undefined };

/** Returns the sums of all callers and models in `GET /v1/usage`. */
function sumsOf(rows: readonly Pick<UsageRow, "hits" | "collapsed" | "saved">[]) {
  const sum = (of: (row: (typeof rows)[number]) => number) =>
    rows.reduce((total, row) => total + of(row), 0);
  return {
    hits: sum((row) => row.hits),
    collapsed: sum((row) => row.collapsed),
    saved: sum((row) => row.saved),
  };
}

/** Returns the object of the gateway's own account. */
function gatewayAccount() {
  const { BUDGET } = bindings();
  return BUDGET.get(BUDGET.idFromName("everybody"));
}

async function paidOnce(spent: number): Promise<void> {
  const config = testConfig();
  const id = `gen_${crypto.randomUUID()}`;
  await reserveBudget(config, ANN, id, spent);
  await settleBudget(config, ANN, id, { spent, model: "m", images: 1 });
}

describe("requests without cost", () => {
  it("that many isolates count land on many objects, and the usage has the exact sums by caller", async () => {
    skipWaits();
    const calls: CountCall[] = [];
    const config = testConfig({ BUDGET: countingObjects(bindings().BUDGET, { calls }) });
    await paidOnce(100);
    await Promise.all(
      Array.from({ length: 40 }, async (_, isolate) => {
        const counter = new UsageCounter(config.budgets);
        await Promise.all(
          Array.from({ length: 5 }, (_, index) =>
            Promise.resolve(counter.count({ ...HIT, caller: `caller-${(isolate + index) % 10}` })),
          ),
        );
      }),
    );
    const objects = new Set(calls.map(({ object }) => object));
    expect(objects.size).toBeGreaterThan(3);
    expect([...objects].filter((name) => !/^usage\/[0-9a-f]$/.test(name))).toEqual([]);
    const { rows, isComplete } = await usageOf(config);
    expect(isComplete).toBe(true);
    expect(rows.map(({ caller, hits, spent, saved }) => [caller, hits, spent, saved])).toEqual([
      ["ann", 0, 100, 0],
      ...Array.from({ length: 10 }, (_, index) => [`caller-${index}`, 20, 0, 140]),
    ]);
  });

  it("appear in one row with what their caller spent on the same model", async () => {
    skipWaits();
    await paidOnce(100);
    await countUsage(testConfig(), HIT);
    expect((await usageOf(testConfig())).rows).toMatchObject([
      { caller: "ann", model: "m", images: 1, hits: 1, spent: 100, saved: 7 },
    ]);
  });

  it("do not call the account that every miss waits for", async () => {
    const body = { model: "dall-e-2", size: "256x256", prompt: newPrompt() };
    await post(body);
    await copied();
    const asked: string[] = [];
    const { BUDGET } = bindings();
    const idFromName = (name: string) => {
      asked.push(name);
      return BUDGET.idFromName(name);
    };
    const noted = new Proxy(BUDGET, {
      get: (target, name) =>
        name === "idFromName" ? idFromName : (Reflect.get(target, name) as () => void).bind(target),
    });
    const hit = await post(body, {}, environment({ BUDGET: noted }));
    expect(hit.headers.get("cache-status")).toMatch(/^darkroom; hit/);
    expect(asked).toEqual([expect.stringMatching(/^usage\/[0-9a-f]$/)]);
  });

  it("of two gateways in one isolate are counted apart", async () => {
    skipWaits();
    const [one, two] = ["one ", "two "].map((prefix) =>
      testConfig({ BUDGET: countingObjects(bindings().BUDGET, { prefix }) }),
    );
    if (one === undefined || two === undefined) throw new Error("two gateways are needed");
    await Promise.all([
      countUsage(one, HIT),
      countUsage(two, { ...HIT, caller: "bob" }),
      countUsage(one, HIT),
    ]);
    expect((await usageOf(one)).rows).toMatchObject([{ caller: "ann", hits: 2 }]);
    expect((await usageOf(two)).rows).toMatchObject([{ caller: "bob", hits: 1 }]);
  });
});

describe("a hit whose count cannot be written", () => {
  it("is served, and the failure is logged", async () => {
    const body = { model: "dall-e-2", size: "256x256", prompt: newPrompt() };
    await post(body);
    await copied();
    skipWaits();
    const BUDGET = countingObjects(bindings().BUDGET, { faultOf: () => "refused" });
    const hit = await post(body, {}, environment({ BUDGET }));
    expect(hit.headers.get("cache-status")).toMatch(/^darkroom; hit/);
    const lines = log.errors.filter((line) => line.includes('"event":"usage_write_failed"'));
    expect(lines).toHaveLength(1);
  });
});

describe("the writes of an isolate", () => {
  it("are a second after the first count, and then at most one every ten seconds", async () => {
    const waits = skipWaits();
    const timesMs: number[] = [];
    const calls: CountCall[] = [];
    const faultOf = (): WriteFault => {
      timesMs.push(Date.now());
      return "none";
    };
    const counter = new UsageCounter(countingObjects(bindings().BUDGET, { calls, faultOf }));
    for (let second = 0; second < 60; second += 1) {
      await counter.count(HIT);
      setClockAhead(1);
    }
    expect(waits[0]).toBe(1000);
    const gapsMs = timesMs.slice(1).map((timeMs, index) => timeMs - Number(timesMs[index]));
    // A busy machine records the time of a write late.
    expect(Math.min(...gapsMs)).toBeGreaterThan(9500);
    expect(sumsOf(calls.flatMap(({ rows }) => rows)).hits).toBe(60);
  });

  it("contain the requests that are counted while they wait", async () => {
    const calls: CountCall[] = [];
    const counter = new UsageCounter(countingObjects(bindings().BUDGET, { calls }));
    const write = counter.count(HIT);
    expect(counter.count({ ...HIT, hits: 0, collapsed: 1, saved: 0 })).toBeUndefined();
    await write;
    expect(calls.map(({ rows }) => rows)).toMatchObject([[{ hits: 1, collapsed: 1, saved: 7 }]]);
  });

  it("include one for a request that is counted while another is in flight, without a further request", async () => {
    skipWaits();
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const calls: CountCall[] = [];
    const faultOf = async (): Promise<WriteFault> => {
      if (calls.length === 1) await released;
      return "none";
    };
    const budgets = countingObjects(bindings().BUDGET, { calls, faultOf });
    const counter = new UsageCounter(budgets);
    const first = counter.count(HIT);
    await eventually(() => expect(calls).toHaveLength(1));
    const second = counter.count({ ...HIT, caller: "bob" });
    release();
    await Promise.all([first, second]);
    expect((await usageOf(testConfig())).rows).toMatchObject([
      { caller: "ann", hits: 1 },
      { caller: "bob", hits: 1 },
    ]);
  });

  it("continue if the runtime ended the request that was to write", async () => {
    vi.spyOn(scheduler, "wait").mockReturnValueOnce(new Promise<never>(() => undefined));
    const counter = new UsageCounter(bindings().BUDGET);
    void counter.count(HIT);
    expect(counter.count(HIT)).toBeUndefined();
    skipWaits();
    setClockAhead(16);
    await counter.count(HIT);
    expect((await usageOf(testConfig())).rows).toMatchObject([{ hits: 3 }]);
  });

  it("do not wait longer if the clock is set back", async () => {
    const waits = skipWaits();
    const counter = new UsageCounter(bindings().BUDGET);
    await counter.count(HIT);
    setClockAhead(-DAY_SECONDS);
    await counter.count(HIT);
    expect(waits).toEqual([1000, 1000]);
  });
});

describe("a write that fails", () => {
  it.each(["refused", "unconfirmed"] as const)(
    "is repeated by the next one, and is counted once: %s",
    async (fault) => {
      skipWaits();
      const faults: WriteFault[] = Array.from({ length: 2 * CALL_ATTEMPTS }, () => fault);
      const faultOf = () => faults.shift() ?? "none";
      const calls: CountCall[] = [];
      const counter = new UsageCounter(countingObjects(bindings().BUDGET, { calls, faultOf }));
      await expect(counter.count(HIT)).rejects.toThrow(/unreachable|lost/);
      await counter.count({ ...HIT, caller: "bob" });
      const failed = Array.from({ length: 2 * CALL_ATTEMPTS }, () => ["ann"]);
      expect(calls.map(({ rows }) => rows.map(({ caller }) => caller))).toEqual([
        ...failed,
        ["ann"],
        ["bob"],
      ]);
      expect((await usageOf(testConfig())).rows).toMatchObject([
        { caller: "ann", hits: 1, saved: 7 },
        { caller: "bob", hits: 1, saved: 7 },
      ]);
    },
  );

  it("is repeated once by its own request, so that it needs no further one", async () => {
    const waits = skipWaits();
    const faults: WriteFault[] = Array.from({ length: CALL_ATTEMPTS }, () => "refused");
    const faultOf = () => faults.shift() ?? "none";
    await new UsageCounter(countingObjects(bindings().BUDGET, { faultOf })).count(HIT);
    expect((await usageOf(testConfig())).rows).toMatchObject([{ hits: 1 }]);
    expect(waits).toEqual([1000, 100, 200, expect.closeTo(10_000, -3)]);
  });

  it("keeps at most about a thousand rows in memory, and loses no count", async () => {
    skipWaits();
    let fault: WriteFault = "refused";
    const calls: CountCall[] = [];
    const counter = new UsageCounter(
      countingObjects(bindings().BUDGET, { calls, faultOf: () => fault }),
    );
    await counter.count(HIT)?.catch(() => undefined);
    const writes: Promise<void>[] = [];
    for (let index = 0; index < 3000; index += 1) {
      // Each request has another caller, and half of them another snapshot of a model.
      const model = index % 2 === 0 ? "m" : `m-${index}`;
      const write = counter.count({ ...HIT, caller: `caller${index}`, model });
      if (write !== undefined) writes.push(write);
    }
    await Promise.allSettled(writes);
    fault = "none";
    await counter.count(HIT);
    const rows = calls.at(-1)?.rows ?? [];
    expect(rows.length).toBeGreaterThan(999);
    expect(rows.length).toBeLessThan(1110);
    const usage = await usageOf(testConfig());
    expect(sumsOf(usage.rows)).toEqual({ hits: 3002, collapsed: 0, saved: 3002 * 7 });
    expect(usage.rows.filter(({ caller }) => caller === "others").length).toBeGreaterThan(1);
  });
});

describe("random requests without cost", () => {
  const step = fc.record({
    isolate: fc.nat(3),
    caller: fc.constantFrom("ann", "bob", "public"),
    isHit: fc.boolean(),
    saved: fc.nat(1000),
    fault: fc.constantFrom<WriteFault>("none", "none", "refused", "unconfirmed"),
    // Without a wait, the next request comes while the write is in flight.
    waits: fc.boolean(),
    pauseSeconds: fc.constantFrom(0, 0, 1, 12, 20),
  });

  it("sum up exactly, whichever writes fail", async () => {
    skipWaits();
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        run += 1;
        let faults: WriteFault[] = [];
        const budgets = countingObjects(bindings().BUDGET, {
          prefix: `run ${run} `,
          faultOf: () => faults.shift() ?? "none",
        });
        const isolates = Array.from({ length: 4 }, () => new UsageCounter(budgets));
        const expected = { hits: 0, collapsed: 0, saved: 0 };
        const writes: Promise<void>[] = [];
        for (const { isolate, caller, isHit, saved, fault, waits, pauseSeconds } of steps) {
          faults.push(fault);
          const counts = { hits: isHit ? 1 : 0, collapsed: isHit ? 0 : 1, saved };
          for (const name of ["hits", "collapsed", "saved"] as const)
            expected[name] += counts[name];
          const write = isolates[isolate]?.count({ caller, model: "m", ...counts });
          if (write !== undefined) writes.push(write.catch(() => undefined));
          if (waits) await writes.at(-1);
          if (pauseSeconds > 0) setClockAhead(pauseSeconds);
        }
        await Promise.all(writes);
        faults = [];
        for (const isolate of isolates) await isolate.count({ ...HIT, hits: 0, saved: 0 });
        const { rows } = await usageOf(testConfig({ BUDGET: budgets }));
        expect(sumsOf(rows)).toEqual(expected);
      }),
      { numRuns: 15 },
    );
  }, 60_000);
});

describe("an object that counts requests without cost", () => {
  it("that cannot be read leaves the money in GET /v1/usage, which says that counts are missing", async () => {
    await paidOnce(250_000);
    const read = async (unreadable: (object: string) => boolean) => {
      const env = environment({ BUDGET: countingObjects(bindings().BUDGET, { unreadable }) });
      const response = await fetchWorker("/v1/usage", env, { headers: ADMIN });
      return [response.status, await response.json()];
    };
    const whole = { spent_today_usd: 0.25, days: [{ images: 1, spent_usd: 0.25 }] };
    expect(await read((object) => object === "usage/7")).toMatchObject([
      200,
      { ...whole, incomplete: true },
    ]);
    const [, complete] = await read(() => false);
    expect(complete).toMatchObject(whole);
    expect(complete).not.toHaveProperty("incomplete");
    expect(await read((object) => object === "everybody")).toMatchObject([500, {}]);
  });

  it("deletes the days past the retention, and so does the account of the gateway", async () => {
    skipWaits();
    const config = testConfig();
    const counter = new UsageCounter(config.budgets);
    await counter.count(HIT);
    await paidOnce(100);
    setClockAhead(32 * DAY_SECONDS);
    await counter.count({ ...HIT, caller: "bob" });
    await paidOnce(100);
    const { BUDGET } = bindings();
    for (const id of await listDurableObjectIds(BUDGET)) {
      await runInDurableObject(BUDGET.get(id), (instance) => instance.alarm());
    }
    const stored = await Promise.all(
      Array.from({ length: 16 }, (_, index) => `usage/${index.toString(16)}`).map((name) =>
        runInDurableObject(BUDGET.get(BUDGET.idFromName(name)), (_, { storage }) =>
          new UsageTable(new Tables(storage.sql)).since("0000-00-00"),
        ),
      ),
    );
    expect(stored.flat()).toMatchObject([{ caller: "bob", hits: 1 }]);
    const paid = await runInDurableObject(gatewayAccount(), (_, { storage }) =>
      new UsageTable(new Tables(storage.sql)).since("0000-00-00"),
    );
    expect(paid).toMatchObject([{ caller: "ann", images: 1 }]);
  });
});
