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

/** A namespace whose clients have looked for a key in vain, just before an object writes it. */
async function writtenAfterMiss(options: { cacheTtl?: number } = {}) {
  const here = kvAt(CLIENTS);
  expect(await here.get(key, options)).toBeNull();
  await kvAt(OBJECTS).put(key, "new");
  return here;
}

describe("KV in a location", () => {
  it.each([
    [{}, 60],
    [{ cacheTtl: 30 }, 30],
    [{ cacheTtl: 3600 }, 3600],
  ])("misses a key for as long as the cacheTtl of a miss: %j", async (options, seconds) => {
    const here = await writtenAfterMiss(options);
    passKvTime(seconds - 1);
    expect(await here.get(key, options)).toBeNull();
    passKvTime(1);
    expect(await here.get(key, options)).toBe("new");
  });

  it("returns an old value for 60 seconds after it was replaced or deleted elsewhere", async () => {
    const here = kvAt(CLIENTS);
    await bindings().CACHE.put(key, "old", { metadata: { a: 1 } });
    expect(await here.get(key)).toBe("old");
    await kvAt(OBJECTS).put(key, "new");
    passKvTime(59);
    expect(await here.getWithMetadata(key)).toEqual({ value: "old", metadata: { a: 1 } });
    passKvTime(1);
    expect(await here.get(key)).toBe("new");
    await kvAt(OBJECTS).delete(key);
    expect(await here.get(key)).toBe("new");
    passKvTime(60);
    expect(await here.get(key)).toBeNull();
  });

  it("reads newer data for a shorter cacheTtl", async () => {
    const here = await writtenAfterMiss({ cacheTtl: 3600 });
    passKvTime(60);
    expect(await here.get(key)).toBe("new");
  });

  it("remembers for itself alone", async () => {
    const here = await writtenAfterMiss();
    expect(await kvAt("elsewhere").get(key)).toBe("new");
    expect(await here.get(key)).toBeNull();
  });

  it("has every type of value, more than once", async () => {
    await bindings().CACHE.put(key, '{"a":1}');
    const here = kvAt(CLIENTS);
    for (let round = 0; round < 2; round += 1) {
      expect(await here.get(key, "json")).toEqual({ a: 1 });
      expect(await here.get(key, { type: "text" })).toBe('{"a":1}');
      expect(new TextDecoder().decode((await here.get(key, "arrayBuffer")) ?? undefined)).toBe(
        '{"a":1}',
      );
      expect(await new Response(await here.get(key, "stream")).text()).toBe('{"a":1}');
    }
  });

  it("accepts one write a second for each key", async () => {
    const here = kvAt(CLIENTS);
    await here.put(key, "a");
    await expect(kvAt(OBJECTS).put(key, "b")).rejects.toThrow("429");
    await expect(here.delete(key)).rejects.toThrow("429");
    await here.put("request/b", "b");
    passKvTime(1);
    await here.delete(key);
    expect(await bindings().CACHE.get(key)).toBeNull();
  });

  const calls: Record<KvMethod, (kv: KVNamespace) => Promise<unknown>> = {
    get: (kv) => kv.get(key),
    getWithMetadata: (kv) => kv.getWithMetadata(key),
    put: (kv) => kv.put(key, "text"),
    delete: (kv) => kv.delete(key),
  };

  it.each(["get", "getWithMetadata", "put", "delete"] as const)(
    "fails and hangs on demand in %s, in one location only",
    async (method) => {
      const call = (location: string) => calls[method](kvAt(location));
      setKvFault(CLIENTS, method, "fails");
      await expect(call(CLIENTS)).rejects.toThrow("KV is down");
      setKvFault(CLIENTS, method, "hangs");
      const first = await Promise.race([
        call(CLIENTS).then(() => "answered"),
        call(OBJECTS).then(() => "answered elsewhere"),
      ]);
      expect(first).toBe("answered elsewhere");
      passKvTime(1);
      setKvFault(CLIENTS, method, undefined);
      await call(CLIENTS);
    },
  );

  it("refuses a cacheTtl that the platform refuses", async () => {
    await expect(kvAt(CLIENTS).get(key, { cacheTtl: 29 })).rejects.toThrow("cache_ttl");
  });
});
