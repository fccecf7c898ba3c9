import {
  evictDurableObject,
  listDurableObjectIds,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { isRevoked, Revocations, revoke } from "../../src/access/revocation.ts";
import { TOKEN_MAX_SECONDS } from "../../src/access/token.ts";
import { DAY_SECONDS, nowSeconds } from "../../src/lib/clock.ts";
import { newBody } from "../support/bodies.ts";
import { eventually } from "../support/eventually.ts";
import { TOKEN_SECRET } from "../support/vars.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  bindings,
  environment,
  errorOf,
  post,
  testConfig,
  upstreamCalls,
} from "../support/worker/harness.ts";
import { storesAnything, storingObjects } from "../support/worker/object-storage.ts";
import { setClockAhead } from "../support/worker/pass-time.ts";
import { newToken } from "../support/worker/token.ts";

quietAndFresh({ expectsErrors: true });

const config = testConfig();

/** Returns the identity of a token that no other test uses. */
function newIdentity() {
  return { jti: crypto.randomUUID(), sub: crypto.randomUUID(), iat: nowSeconds() };
}

function objectNamed(name: string): DurableObjectStub<Revocations> {
  const objects = bindings().REVOCATIONS;
  return objects.get(objects.idFromName(name));
}

/** Returns the number of revocations in each object that has some. */
async function storedCounts(): Promise<number[]> {
  const objects = bindings().REVOCATIONS;
  const counts: number[] = [];
  for (const id of await listDurableObjectIds(objects)) {
    counts.push(await runInDurableObject(objects.get(id), (_, state) => rowsOf(state)));
  }
  return counts.filter((count) => count > 0);
}

function rowsOf({ storage }: DurableObjectState): number {
  return storage.sql.exec<{ count: number }>("SELECT COUNT(*) AS count FROM revoked").one().count;
}

describe("the revocations of many tokens", () => {
  it("are spread over many objects, and each takes effect", async () => {
    const tokens = Array.from({ length: 50 }, newIdentity);
    for (const { jti, sub } of tokens.slice(0, 25)) {
      await revoke(config, { jti });
      await revoke(config, { sub });
    }
    const counts = await storedCounts();
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(50);
    // 50 names fall on 45 of 256 objects on average.
    expect(counts.length).toBeGreaterThan(30);
    const results = await Promise.all(tokens.map((token) => isRevoked(config, token)));
    expect(results).toEqual(tokens.map((_, index) => index < 25));
  });

  it.each([
    ["id", ({ jti }: { jti: string }) => ({ jti })],
    ["subject", ({ sub }: { sub: string }) => ({ sub })],
  ])("take effect if only the %s is revoked", async (_, part) => {
    const [token, other] = [newIdentity(), newIdentity()];
    await revoke(config, part(token));
    expect(await isRevoked(config, token)).toBe(true);
    expect(await isRevoked(config, other)).toBe(false);
  });
});

describe("a revocation in the one object of version 0.1.0", () => {
  it.each([
    ["id", ({ jti }: { jti: string }) => ({ jti })],
    ["subject", ({ sub }: { sub: string }) => ({ sub })],
  ])("still covers the %s of a token", async (_, part) => {
    const token = newIdentity();
    await objectNamed("revocations").revoke(part(token));
    expect(await isRevoked(config, token)).toBe(true);
  });

  it("is not looked up any more when every token that it covers has expired", async () => {
    const lookup = vi.spyOn(Revocations.prototype, "isRevoked");
    await isRevoked(config, newIdentity());
    expect(lookup).toHaveBeenCalledTimes(3);
    lookup.mockClear();
    setClockAhead(Date.UTC(2027, 10, 26) / 1000 - nowSeconds());
    await isRevoked(config, newIdentity());
    expect(lookup).toHaveBeenCalledTimes(2);
  });
});

describe("a token", () => {
  it("is revoked within a second if another token with the same id was found valid", async () => {
    const token = newIdentity();
    const forged = { ...token, sub: crypto.randomUUID() };
    expect(await isRevoked(config, forged)).toBe(false);
    await revoke(config, { sub: token.sub });
    expect(await isRevoked(config, token)).toBe(true);
  });

  it.each([1, 2, 3])(
    "is not accepted if object %i with its revocation fails, and nothing is generated",
    async (failing) => {
      const { headers } = await newToken("web");
      const asked: Revocations[] = [];
      vi.spyOn(Revocations.prototype, "isRevoked").mockImplementation(function (this: Revocations) {
        if (!asked.includes(this)) asked.push(this);
        if (asked.indexOf(this) === failing - 1) throw new Error("the object is unreachable");
        return Promise.resolve(false);
      });
      const env = environment({ ACCESS: "token", TOKEN_SECRET });
      const body = newBody();
      const response = await post(body, headers, env);
      expect(await errorOf(response)).toEqual([500, "internal_error", null]);
      expect(await upstreamCalls(body.prompt)).toBe(0);
    },
  );
});

/** Stores revocations as version 0.1.0 does: without an alarm. */
async function storeOlder(
  object: DurableObjectStub<Revocations>,
  rows: readonly (readonly [kind: string, name: string, at: number])[],
): Promise<void> {
  await runInDurableObject(object, (_, { storage }) => {
    storage.sql.exec(`
      CREATE TABLE IF NOT EXISTS revoked (
        kind TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (kind, name)
      );
      CREATE INDEX IF NOT EXISTS revoked_at ON revoked (at);
    `);
    for (const row of rows) {
      storage.sql.exec("INSERT INTO revoked (kind, name, at) VALUES (?, ?, ?)", ...row);
    }
  });
  await evictDurableObject(object);
}

describe("an object with revocations", () => {
  it("stores nothing while it is only asked", async () => {
    for (let index = 0; index < 20; index += 1) {
      expect(await isRevoked(config, newIdentity())).toBe(false);
    }
    expect(await storingObjects(bindings().REVOCATIONS)).toEqual([]);
  });

  it("is deleted by its alarm when the tokens of its revocations have expired, and not before", async () => {
    const token = newIdentity();
    await revoke(config, { jti: token.jti });
    setClockAhead(DAY_SECONDS);
    await revoke(config, { sub: token.sub });
    const alarms = async () => {
      const objects = bindings().REVOCATIONS;
      for (const id of await listDurableObjectIds(objects)) {
        await runDurableObjectAlarm(objects.get(id));
      }
      return (await storingObjects(objects)).length;
    };
    setClockAhead(TOKEN_MAX_SECONDS - DAY_SECONDS - 60);
    expect(await alarms()).toBe(2);
    expect(await isRevoked(config, token)).toBe(true);
    setClockAhead(120);
    expect(await alarms()).toBe(1);
    expect(await isRevoked(config, token)).toBe(true);
    setClockAhead(DAY_SECONDS);
    expect(await alarms()).toBe(0);
    // And it can be used again.
    await revoke(config, { jti: token.jti });
    expect(await isRevoked(config, token)).toBe(true);
  });

  it("deletes thousands that have expired some at a time, and keeps the valid one", async () => {
    const object = objectNamed("revocations/00");
    const now = nowSeconds();
    const expired = Array.from(
      { length: 3000 },
      (_, index) => ["jti", `expired ${index}`, now - TOKEN_MAX_SECONDS - index] as const,
    );
    const valid = ["jti", "valid", now - TOKEN_MAX_SECONDS + DAY_SECONDS] as const;
    await storeOlder(object, [...expired, valid]);
    const left: number[] = [];
    for (let run = 0; run < 6; run += 1) {
      await runInDurableObject(object, (instance) => instance.alarm());
      left.push(await runInDurableObject(object, (_, state) => rowsOf(state)));
    }
    expect(left[0]).toBeGreaterThan(1000);
    expect(left.at(-1)).toBe(1);
    expect(await object.isRevoked("valid", "a", 0)).toBe(true);
  });

  it("of version 0.1.0, which set no alarm, is read and cleaned up once it is asked", async () => {
    const object = objectNamed("revocations");
    await storeOlder(object, [["sub", "ann", nowSeconds()]]);
    expect(await object.isRevoked("a", "ann", nowSeconds())).toBe(true);
    expect(await object.isRevoked("a", "ann", nowSeconds() + 1)).toBe(false);
    expect(await object.isRevoked("a", "bob", 0)).toBe(false);
    setClockAhead(TOKEN_MAX_SECONDS + 1);
    expect(await runDurableObjectAlarm(object)).toBe(true);
    expect(await storesAnything(object)).toBe(false);
  });

  it("with an empty table, which an earlier version created, is deleted once it is asked", async () => {
    const object = objectNamed("revocations/01");
    await storeOlder(object, []);
    expect(await object.isRevoked("a", "ann", 0)).toBe(false);
    await eventually(async () => expect(await storesAnything(object)).toBe(false));
  });
});
