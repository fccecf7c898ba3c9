import { describe, expect, it } from "vitest";
import {
  CLIENTS,
  kvAt,
  OBJECTS,
  passKvTime,
  setKvFault,
  type KvMethod,
} from "../support/worker/edge-kv.ts";
import { bindings } from "../support/worker/harness.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";

quietAndFresh();

const key = "request/a";

/** Returns the KV of the clients after they missed a key that a Durable Object then wrote. */
async function writtenAfterMiss(options: { cacheTtl?: number } = {}) {
  const clientKv = kvAt(CLIENTS);
  expect(await clientKv.get(key, options)).toBeNull();
  await kvAt(OBJECTS).put(key, "new");
  return clientKv;
}

describe("KV in a location", () => {
  it.each([
    [{}, 60],
    [{ cacheTtl: 30 }, 30],
    [{ cacheTtl: 3600 }, 3600],
  ])("caches the miss of a lookup with the options %j for %i seconds", async (options, seconds) => {
    const clientKv = await writtenAfterMiss(options);
    passKvTime(seconds - 1);
    expect(await clientKv.get(key, options)).toBeNull();
    passKvTime(1);
    expect(await clientKv.get(key, options)).toBe("new");
  });

  it("returns an old value for 60 seconds after it was replaced or deleted elsewhere", async () => {
    const clientKv = kvAt(CLIENTS);
    await bindings().CACHE.put(key, "old", { metadata: { a: 1 } });
    expect(await clientKv.get(key)).toBe("old");
    await kvAt(OBJECTS).put(key, "new");
    passKvTime(59);
    expect(await clientKv.getWithMetadata(key)).toEqual({ value: "old", metadata: { a: 1 } });
    passKvTime(1);
    expect(await clientKv.get(key)).toBe("new");
    await kvAt(OBJECTS).delete(key);
    expect(await clientKv.get(key)).toBe("new");
    passKvTime(60);
    expect(await clientKv.get(key)).toBeNull();
  });

  it("returns the new value if the cacheTtl is shorter than that of the cached miss", async () => {
    const clientKv = await writtenAfterMiss({ cacheTtl: 3600 });
    passKvTime(60);
    expect(await clientKv.get(key)).toBe("new");
  });

  it("caches a miss in its own location only", async () => {
    const clientKv = await writtenAfterMiss();
    expect(await kvAt("elsewhere").get(key)).toBe("new");
    expect(await clientKv.get(key)).toBeNull();
  });

  it("returns a cached value in every type, more than once", async () => {
    await bindings().CACHE.put(key, '{"a":1}');
    const clientKv = kvAt(CLIENTS);
    for (let round = 0; round < 2; round += 1) {
      expect(await clientKv.get(key, "json")).toEqual({ a: 1 });
      expect(await clientKv.get(key, { type: "text" })).toBe('{"a":1}');
      expect(new TextDecoder().decode((await clientKv.get(key, "arrayBuffer")) ?? undefined)).toBe(
        '{"a":1}',
      );
      expect(await new Response(await clientKv.get(key, "stream")).text()).toBe('{"a":1}');
    }
  });

  it("rejects a second write or delete of the same key within a second with 429", async () => {
    const clientKv = kvAt(CLIENTS);
    await clientKv.put(key, "a");
    await expect(kvAt(OBJECTS).put(key, "b")).rejects.toThrow("429");
    await expect(clientKv.delete(key)).rejects.toThrow("429");
    await clientKv.put("request/b", "b");
    passKvTime(1);
    await clientKv.delete(key);
    expect(await bindings().CACHE.get(key)).toBeNull();
  });

  const calls: Record<KvMethod, (kv: KVNamespace) => Promise<unknown>> = {
    get: (kv) => kv.get(key),
    getWithMetadata: (kv) => kv.getWithMetadata(key),
    put: (kv) => kv.put(key, "text"),
    delete: (kv) => kv.delete(key),
  };

  it.each(["get", "getWithMetadata", "put", "delete"] as const)(
    "simulates a failing and a hanging %s in one location only",
    async (method) => {
      const call = (location: string) => calls[method](kvAt(location));
      setKvFault(CLIENTS, method, "fails");
      await expect(call(CLIENTS)).rejects.toThrow("KV is down");
      setKvFault(CLIENTS, method, "hangs");
      const first = await Promise.race([
        call(CLIENTS).then(() => "responded"),
        call(OBJECTS).then(() => "responded elsewhere"),
      ]);
      expect(first).toBe("responded elsewhere");
      passKvTime(1);
      setKvFault(CLIENTS, method, undefined);
      await call(CLIENTS);
    },
  );

  it("rejects a cacheTtl below the platform's minimum of 30 seconds", async () => {
    await expect(kvAt(CLIENTS).get(key, { cacheTtl: 29 })).rejects.toThrow("cache_ttl");
  });
});
