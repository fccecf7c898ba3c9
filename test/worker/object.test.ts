import {
  evictDurableObject,
  reset,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { usageOf } from "../../src/access/budget.ts";
import { costOf } from "../../src/contract/pricing.ts";
import { parseImageRequest } from "../../src/contract/request.ts";
import { NOW, type Job } from "../../src/generation/protocol.ts";
import type { Generation } from "../../src/generation/object.ts";
import { GenerationStorage } from "../../src/generation/storage.ts";
import { eventually } from "../support/eventually.ts";
import {
  callWorker,
  bindings,
  changeEnvironment,
  copied,
  environment,
  errorOf,
  failingKv,
  generationRequest,
  keyOf,
  sharedObject,
  testConfig,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { newBody, prompts } from "../support/bodies.ts";

const problems: string[] = [];
const lines: string[] = [];

beforeEach(() => {
  vi.spyOn(console, "log").mockImplementation((line: string) => void lines.push(line));
  vi.spyOn(console, "error").mockImplementation((line: string) => void problems.push(line));
});

afterEach(async () => {
  vi.restoreAllMocks();
  const logged = [...lines, ...problems].join("\n");
  for (const secret of [...prompts, "sk-test", "iVBORw0KGgo"]) {
    if (logged.includes(secret))
      throw new Error("a line of the log holds a prompt, a key or a picture");
  }
  for (const list of [problems, lines, prompts]) list.length = 0;
  await reset();
});

async function jobOf(body: object): Promise<Job> {
  const request = parseImageRequest(body, testConfig(), Date.now());
  return {
    key: await keyOf(body),
    request,
    payer: { caller: "public", account: "network/local", token: undefined },
    store: true,
    keepSeconds: 600,
    maxAgeSeconds: 1000,
  };
}

function post(body: object): Promise<Response> {
  return callWorker(generationRequest(body), environment());
}

async function isEmpty(object: DurableObjectStub<Generation>): Promise<boolean> {
  return runInDurableObject(object, (_, state) => {
    const tables = state.storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'chunk'");
    return tables.toArray().length === 0;
  });
}

/** The object's state as it is stored. */
async function storedState(object: DurableObjectStub<Generation>): Promise<unknown> {
  return runInDurableObject(object, (_, state) =>
    state.storage.sql
      .exec<{ state: string }>("SELECT state FROM generation")
      .toArray()
      .map((row) => row.state),
  );
}

describe("an object that is evicted", () => {
  it("while its job is queued makes it when it wakes", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    const { id } = await object.start(await jobOf(body));
    await evictDurableObject(object);
    await runDurableObjectAlarm(object);
    await copied();
    expect((await object.progress(id, NOW))?.state).toBe("done");
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });

  it("while the upstream is at work fails the generation, and does not ask again by itself", async () => {
    const body = newBody("[upstream delay=1500 times=1]");
    const object = await sharedObject(body);
    const answering = post(body);
    await eventually(async () => expect(await upstreamCalls(body.prompt)).toBe(1));
    await runInDurableObject(object, (_, state) => {
      state.abort("as if the machine were gone");
    }).catch(() => undefined);

    const response = await answering;
    expect(response.status).toBe(502);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(await response.json()).toMatchObject({ error: { code: "upstream_outcome_unknown" } });
    expect(await upstreamCalls(body.prompt)).toBe(1);
    expect((await bindings().CACHE.list()).keys).toEqual([]);

    expect((await post(body)).status).toBe(200);
    expect(await upstreamCalls(body.prompt)).toBe(2);
  });

  it("when the picture is made has it still", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    const made = await (await post(body)).json<{ id: string }>();
    await copied();
    await evictDurableObject(object);
    expect((await object.progress(made.id, NOW))?.state).toBe("done");
    const image = await object.image(made.id, 0);
    expect(image?.sizeBytes).toBeGreaterThan(100);
    await image?.body.cancel();
  });

  it("before the copy to KV copies it when it wakes, without the upstream", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    await changeEnvironment(object, { CACHE: failingKv("put") });
    await post(body);
    await eventually(() => expect(problems).toHaveLength(1));
    expect((await bindings().CACHE.list()).keys).toEqual([]);
    await evictDurableObject(object);
    await runDurableObjectAlarm(object);
    await copied();
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});

describe("an alarm that runs twice", () => {
  it("asks the upstream once, one after the other", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    await post(body);
    await copied();
    await runInDurableObject(object, (instance) => instance.alarm());
    expect(await upstreamCalls(body.prompt)).toBe(1);
    expect(await storedState(object)).toEqual(["done"]);
  });

  it("asks the upstream once, both at the same time", async () => {
    const body = newBody("[upstream delay=300]");
    const object = await sharedObject(body);
    const { id } = await object.start(await jobOf(body));
    await runInDurableObject(object, (instance) =>
      Promise.all([instance.alarm(), instance.alarm(), instance.alarm()]),
    );
    await copied();
    expect((await object.progress(id, NOW))?.state).toBe("done");
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});

describe("what an object keeps", () => {
  async function alarmAfter(object: DurableObjectStub<Generation>, seconds: number): Promise<void> {
    const now = Date.now();
    vi.spyOn(Date, "now").mockReturnValue(now + seconds * 1000);
    await runInDurableObject(object, (instance) => instance.alarm());
    vi.mocked(Date.now).mockRestore();
  }

  it("is there for ten minutes, and gone after that", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    await post(body);
    await copied();
    await alarmAfter(object, 590);
    expect(await isEmpty(object)).toBe(false);
    await alarmAfter(object, 601);
    expect(await isEmpty(object)).toBe(true);
  });

  it("is in chunks of at most a megabyte", async () => {
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

  it("works anew after it was deleted", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    await post(body);
    await copied();
    await alarmAfter(object, 601);
    await bindings().CACHE.delete(`request/${await keyOf(body)}`);
    expect((await post(body)).headers.get("cache-status")).toBe("darkroom; fwd=miss; stored");
  });

  it("of failures is only the last ones, for whoever asks for them by id", async () => {
    const body = newBody("[upstream status=400]");
    const object = await sharedObject(body);
    const ids: string[] = [];
    for (let round = 0; round < 12; round += 1) {
      const { id } = await object.start(await jobOf(body));
      ids.push(id);
      await object.progress(id, { ...NOW, waitMs: 5000 });
    }
    const states = await Promise.all(ids.map((id) => object.progress(id, NOW)));
    expect(states.map((progress) => progress?.state ?? "gone")).toEqual([
      ...Array.from({ length: 2 }, () => "gone"),
      ...Array.from({ length: 10 }, () => "failed"),
    ]);
    expect(states.at(-1)?.failure).toMatchObject({ code: "upstream_rejected", status: 400 });
  });
});

describe("a reader of a generation that is replaced", () => {
  it("gets no byte of the new one", async () => {
    const body = newBody("[upstream bytes=3000000]");
    const object = await sharedObject(body);
    const { id } = await (await post(body)).json<{ id: string }>();
    await copied();
    const image = await object.image(id, 0);
    const reader = image?.body.getReader();
    const first = await reader?.read();
    expect(first?.value?.byteLength).toBeGreaterThan(0);

    const anew = await object.start({ ...(await jobOf(body)), maxAgeSeconds: -1 });
    expect(anew.id).not.toBe(id);
    expect((await object.progress(anew.id, { ...NOW, waitMs: 5000 }))?.state).toBe("done");
    let read = first?.value?.byteLength ?? 0;
    for (;;) {
      const chunk = await reader?.read();
      if (chunk === undefined || chunk.done) break;
      read += chunk.value.byteLength;
    }
    expect(read).toBeLessThan(3_000_000);
    expect(await object.image(id, 0)).toBeUndefined();
  });
});

describe("a copy to KV that goes on failing", () => {
  it("is given up in the end, and the object keeps the picture for its time", async () => {
    const body = newBody();
    const object = await sharedObject(body);
    await changeEnvironment(object, { CACHE: failingKv("put") });
    const { id } = await (await post(body)).json<{ id: string }>();
    await eventually(() => expect(problems).toHaveLength(1));
    await runInDurableObject(object, async (instance) => {
      for (let round = 0; round < 20; round += 1) await instance.alarm();
    });
    expect(problems).toHaveLength(10);
    const image = await object.image(id, 0);
    expect(image?.type).toBe("png");
    await image?.body.cancel();
  });
});

describe("memory", () => {
  it("of ten pictures of 3 MB is taken one picture at a time", async () => {
    const body = { ...newBody("[upstream bytes=3000000]"), n: 10 };
    const object = await sharedObject(body);
    const held: number[] = [];
    await changeEnvironment(object, {
      CACHE: new Proxy(bindings().CACHE, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name);
          if (name !== "put") return typeof value === "function" ? value.bind(target) : value;
          return (key: string, bytes: Uint8Array | string, options: KVNamespacePutOptions) => {
            if (typeof bytes !== "string") held.push(bytes.byteLength);
            return target.put(key, bytes, options);
          };
        },
      }),
    });
    const response = await post({ ...body, response_format: "url" });
    expect(response.status).toBe(200);
    await copied();
    expect(held).toEqual(Array.from({ length: 10 }, () => 3_000_000));
    expect(await upstreamCalls(body.prompt)).toBe(1);
  });
});

describe("an object that breaks after the upstream has answered", () => {
  it("says that nobody knows, books the worst case, and lets no SDK ask again", async () => {
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
    expect(problems.join()).toContain('"event":"generation_broke"');
    const { worst } = costOf(parseImageRequest(body, testConfig(), Date.now()), new Map());
    await eventually(async () => {
      const { rows } = await usageOf(testConfig());
      // What cost nothing is counted a second late, and may be that of the test before.
      const paid = rows.filter(({ spent }) => spent > 0);
      expect(paid).toMatchObject([{ images: 0, spent: worst() }]);
    });
  });
});
