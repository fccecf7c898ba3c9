import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import { spentToday, usageOf } from "../../src/access/accounts.ts";
import { Budget } from "../../src/access/budget.ts";
import { costOf } from "../../src/contract/pricing.ts";
import { parseImageRequest } from "../../src/contract/request.ts";
import { toStoredRequest } from "../../src/contract/stored-request.ts";
import { WITHOUT_WAITING, type StartRequest } from "../../src/generation/protocol.ts";
import type { Generation } from "../../src/generation/object.ts";
import { GenerationStorage } from "../../src/generation/storage.ts";
import { eventually } from "../support/eventually.ts";
import {
  bindings,
  changeEnvironment,
  copied,
  errorOf,
  failingKv,
  keyOf,
  post,
  sharedObject,
  testConfig,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { newBody, newPrompt, prompts, STREAM } from "../support/bodies.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import { hangAfter } from "../support/worker/hanging-calls.ts";

const log = quietAndFresh({ expectsErrors: true });

afterEach(() => {
  const logged = log.all().join("\n");
  for (const secret of [...prompts, "sk-test", "iVBORw0KGgo"]) {
    if (logged.includes(secret))
      throw new Error("a line of the log holds a prompt, a key or an image");
  }
  prompts.length = 0;
});

async function startRequest(body: object): Promise<StartRequest> {
  const request = toStoredRequest(parseImageRequest(body, testConfig(), Date.now()));
  return {
    key: await keyOf(body),
    request,
    payer: { caller: "public", account: "network/local", token: undefined },
    store: true,
    keepSeconds: 600,
    maxAgeSeconds: 1000,
  };
}

async function isEmpty(object: DurableObjectStub<Generation>): Promise<boolean> {
  return runInDurableObject(object, (_, state) => {
    const tables = state.storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'chunk'");
    return tables.toArray().length === 0;
  });
}

/** Returns the states of the object's stored generations. */
async function storedState(object: DurableObjectStub<Generation>): Promise<unknown> {
  return runInDurableObject(object, (_, state) =>
    state.storage.sql
      .exec<{ state: string }>("SELECT state FROM generation")
      .toArray()
      .map((row) => row.state),
  );
}

describe("a Durable Object that is evicted", () => {
  it("runs its queued generation when its alarm wakes it", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    const { id } = await object.start(await startRequest(body));
    await evictDurableObject(object);
    await runDurableObjectAlarm(object);
    await copied();
    expect((await object.progress(id, WITHOUT_WAITING))?.state).toBe("done");
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("during an upstream call fails the generation with `upstream_outcome_unknown` and does not repeat the call by itself", async () => {
    const body = newBody("[upstream delay=1500 times=1]");
    const object = await sharedObject(body);
    const pending = post(body);
    await eventually(async () => expect(await upstreamCalls(body.prompt)).toBe(1));
    await runInDurableObject(object, (_, state) => {
      state.abort("as if the machine had failed");
    }).catch(() => undefined);

    const response = await pending;
    expect(response.status).toBe(502);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(await response.json()).toMatchObject({ error: { code: "upstream_outcome_unknown" } });
    expect(await upstreamCalls(body.prompt)).toBe(1);
    expect((await bindings().CACHE.list()).keys).toEqual([]);

    expect((await post(body)).status).toBe(200);
    expect(await upstreamCalls(body.prompt)).toBe(2);
  });

  it("releases a start that was being decided, although its alarm came before", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    await changeEnvironment(object, { BUDGET: hangAfter(bindings().BUDGET, "reserve") });
    const started = object.start(await startRequest(body)).catch(() => undefined);
    await eventually(async () => expect(await spentToday(testConfig())).toBeGreaterThan(0));
    expect(await runDurableObjectAlarm(object)).toBe(true);
    await runInDurableObject(object, (_, state) => {
      state.abort("as if the machine had failed");
    }).catch(() => undefined);
    await started;
    expect(await runDurableObjectAlarm(await sharedObject(body))).toBe(true);
    expect(await spentToday(testConfig())).toBe(0);
  });

  it("still has its completed generation and the image", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    const generated = await (await post(body)).json<{ id: string }>();
    await copied();
    await evictDurableObject(object);
    expect((await object.progress(generated.id, WITHOUT_WAITING))?.state).toBe("done");
    const image = await object.image(generated.id, 0);
    expect(image?.sizeBytes).toBeGreaterThan(100);
    await image?.body.cancel();
  });

  it("before the copy to KV copies its generation when its alarm wakes it, without an upstream call", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    await changeEnvironment(object, { CACHE: failingKv("put") });
    await post(body);
    await eventually(() => expect(log.errors).toHaveLength(1));
    expect((await bindings().CACHE.list()).keys).toEqual([]);
    await evictDurableObject(object);
    await runDurableObjectAlarm(object);
    await copied();
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});

describe("an alarm that runs twice", () => {
  it("calls the upstream once if the runs are consecutive", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    await post(body);
    await copied();
    await runInDurableObject(object, (instance) => instance.alarm());
    expect(await upstreamCalls(body.prompt)).toBe(1);
    expect(await storedState(object)).toEqual(["done"]);
  });

  it("calls the upstream once if the runs are concurrent", async () => {
    const body = newBody("[upstream delay=300]");
    const object = await sharedObject(body);
    const { id } = await object.start(await startRequest(body));
    await runInDurableObject(object, (instance) =>
      Promise.all([instance.alarm(), instance.alarm(), instance.alarm()]),
    );
    await copied();
    expect((await object.progress(id, WITHOUT_WAITING))?.state).toBe("done");
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});

describe("the storage of a generation's Durable Object", () => {
  async function alarmAfter(object: DurableObjectStub<Generation>, seconds: number): Promise<void> {
    const now = Date.now();
    vi.spyOn(Date, "now").mockReturnValue(now + seconds * 1000);
    await runInDurableObject(object, (instance) => instance.alarm());
    vi.mocked(Date.now).mockRestore();
  }

  it("holds the generation for ten minutes, then is empty", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    await post(body);
    await copied();
    await alarmAfter(object, 590);
    expect(await isEmpty(object)).toBe(false);
    await alarmAfter(object, 601);
    expect(await isEmpty(object)).toBe(true);
  });

  it("holds an image in chunks of at most 1 MiB", async () => {
    const body = newBody("[upstream bytes=2500000]");
    const object = await sharedObject(body);
    await post(body);
    const lengths = await runInDurableObject(object, (_, state) =>
      state.storage.sql
        .exec<{ bytes: number }>("SELECT length(bytes) AS bytes FROM chunk ORDER BY part")
        .toArray()
        .map((row) => row.bytes),
    );
    expect(lengths).toEqual([1_048_576, 1_048_576, 2_500_000 - 2 * 1_048_576]);
  });

  it.each([
    ["everything is deleted", "expired"],
    ["its images are deleted", "deleted"],
  ])("fails the stream of an image that is open while %s", async (_, how) => {
    const object = await sharedObject(newBody());
    const [readBytes, failure] = await runInDurableObject(object, async (_, state) => {
      const storage = new GenerationStorage(state.storage.sql);
      const sink = storage.sink("gen_a");
      sink.write(0, 0, new Uint8Array(1_000_000));
      sink.write(0, 1, new Uint8Array(1_000_000));
      const reader = storage.imageStream("gen_a", 0, 2_000_000).getReader();
      let total = 0;
      try {
        for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
          if (total === 0) {
            storage.deleteImages("gen_a");
            if (how === "expired") {
              await state.storage.deleteAll();
              storage.reset();
            }
          }
          total += chunk.value.byteLength;
        }
        return [total, undefined] as const;
      } catch (error) {
        return [total, String(error)] as const;
      }
    });
    // The rest of the chunk that was read before.
    expect(readBytes).toBe(1_000_000);
    expect(failure).toContain("deleted while it was read");
  });

  it("accepts a new generation after it was deleted", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    await post(body);
    await copied();
    await alarmAfter(object, 601);
    await bindings().CACHE.delete(`request/${await keyOf(body)}`);
    expect((await post(body)).headers.get("cache-status")).toBe("darkroom; fwd=miss; stored");
  });

  it("holds only the last ten failures for lookups by id", async () => {
    const body = newBody("[upstream status=400]");
    const object = await sharedObject(body);
    const ids: string[] = [];
    for (let round = 0; round < 12; round += 1) {
      const { id } = await object.start(await startRequest(body));
      ids.push(id);
      await object.progress(id, { ...WITHOUT_WAITING, waitMs: 5000 });
    }
    const states = await Promise.all(ids.map((id) => object.progress(id, WITHOUT_WAITING)));
    expect(states.map((progress) => progress?.state ?? "gone")).toEqual([
      ...Array.from({ length: 2 }, () => "gone"),
      ...Array.from({ length: 10 }, () => "failed"),
    ]);
    expect(states.at(-1)?.failure).toMatchObject({ code: "upstream_rejected", status: 400 });
  });

  it("holds the partial images of only the last ten failures", async () => {
    const prompt = newPrompt("[upstream partials=1 then=error code=server_error]");
    const body = { ...STREAM, prompt };
    const object = await sharedObject(body);
    await changeEnvironment(object, { BUDGET_USD_PER_DAY: "100" });
    for (let round = 0; round < 12; round += 1) {
      const { id } = await object.start(await startRequest(body));
      await eventually(async () => {
        const progress = await object.progress(id, { ...WITHOUT_WAITING, waitMs: 5000 });
        expect(progress?.state).toBe("failed");
      });
    }
    const ids = await runInDurableObject(object, (_, state) =>
      state.storage.sql.exec("SELECT DISTINCT id FROM chunk").toArray(),
    );
    expect(ids).toHaveLength(10);
  });
});

describe("a completed generation that a request does not accept", () => {
  it("stays in its object, and is still served from it", async () => {
    const body = newBody("[upstream bytes=3000000]");
    const object = await sharedObject(body);
    const { id } = await (await post(body)).json<{ id: string }>();
    const started = await object.start({ ...(await startRequest(body)), maxAgeSeconds: -1 });
    expect([started.id, started.isUnacceptable]).toEqual([id, true]);
    const image = await object.image(id, 0);
    const bytes = await new Response(image?.body).arrayBuffer();
    expect(bytes.byteLength).toBe(3_000_000);
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});

describe("a copy to KV that keeps failing", () => {
  it("is given up after ten attempts, and the object still has the image", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    await changeEnvironment(object, { CACHE: failingKv("put") });
    const { id } = await (await post(body)).json<{ id: string }>();
    await eventually(() => expect(log.errors).toHaveLength(1));
    await runInDurableObject(object, async (instance) => {
      for (let round = 0; round < 20; round += 1) await instance.alarm();
    });
    expect(log.errors).toHaveLength(10);
    const image = await object.image(id, 0);
    expect(image?.type).toBe("png");
    await image?.body.cancel();
  });

  it("is tried ten times although the settlements of its generation fail as well", async () => {
    vi.spyOn(Budget.prototype, "settle").mockImplementation(() => {
      throw new Error("the account is unreachable");
    });
    const body = newBody();
    const object = await sharedObject(body);
    await changeEnvironment(object, { CACHE: failingKv("put") });
    expect((await post(body)).status).toBe(200);
    const failures = (event: string) => log.errors.filter((line) => line.includes(event)).length;
    await eventually(() => expect(failures("cache_write_failed")).toBeGreaterThan(0));
    await runInDurableObject(object, async (instance) => {
      for (let round = 0; round < 9; round += 1) await instance.alarm();
    });
    expect(failures("budget_settle_failed")).toBe(10);
    expect(failures("cache_write_failed")).toBe(10);
  });
});

describe("a generation of ten images of 3 MB", () => {
  it("is copied to KV one image at a time", async () => {
    const body = { ...newBody("[upstream bytes=3000000]"), n: 10 };
    const object = await sharedObject(body);
    let open = 0;
    let mostOpen = 0;
    const put = async (key: string, value: ReadableStream, options: KVNamespacePutOptions) => {
      open += 1;
      mostOpen = Math.max(mostOpen, open);
      await bindings().CACHE.put(key, value, options);
      open -= 1;
    };
    await changeEnvironment(object, {
      CACHE: new Proxy(bindings().CACHE, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name);
          if (name === "put") return put;
          return typeof value === "function" ? value.bind(target) : value;
        },
      }),
    });
    const response = await post({ ...body, response_format: "url" });
    expect(response.status).toBe(200);
    await copied();
    expect(mostOpen).toBe(1);
    const { keys } = await bindings().CACHE.list({ prefix: "image/" });
    const images = await Promise.all(
      keys.map(({ name }) => bindings().CACHE.get(name, "arrayBuffer")),
    );
    const sizes = images.map((image) => image?.byteLength);
    expect(sizes).toEqual(Array.from({ length: 10 }, () => 3_000_000));
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});

describe("a Durable Object that fails after the response of the upstream", () => {
  it("returns a final `upstream_outcome_unknown` and charges the upper bound", async () => {
    // oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
    const { save } = GenerationStorage.prototype;
    vi.spyOn(GenerationStorage.prototype, "save").mockImplementation(function (
      this: GenerationStorage,
      generation,
    ) {
      if (generation.state === "done") throw new Error("the disk is full");
      save.call(this, generation);
    });
    const body = newBody();
    const response = await post(body);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(await errorOf(response)).toEqual([502, "upstream_outcome_unknown", null]);
    expect(log.errors.join()).toContain('"event":"generation_broke"');
    const { spec } = parseImageRequest(body, testConfig(), Date.now());
    const { upperBound } = costOf(spec, 0, testConfig());
    await eventually(async () => {
      const { rows } = await usageOf(testConfig());
      // A request without cost is counted late, so its row may belong to the previous test.
      const paid = rows.filter(({ spent }) => spent > 0);
      expect(paid).toMatchObject([{ images: 0, spent: upperBound() }]);
    });
  });
});
