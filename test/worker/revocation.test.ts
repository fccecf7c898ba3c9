import { listDurableObjectIds, runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { isRevoked, Revocations, revoke } from "../../src/access/revocation.ts";
import { TOKEN_MAX_SECONDS } from "../../src/access/token.ts";
import { DAY_SECONDS, nowSeconds } from "../../src/lib/clock.ts";
import { newBody } from "../support/bodies.ts";
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
        return false;
      });
      const env = environment({ ACCESS: "token", TOKEN_SECRET });
      const body = newBody();
      const response = await post(body, headers, env);
      expect(await errorOf(response)).toEqual([500, "internal_error", null]);
      expect(await upstreamCalls(body.prompt)).toBe(0);
    },
  );
});

describe("an object with revocations", () => {
  it("deletes those whose tokens have expired, at most 100 with each revocation", async () => {
    const object = objectNamed("revocations/00");
    const now = nowSeconds();
    const left = await runInDurableObject(object, (instance: Revocations, state) => {
      const { sql } = state.storage;
      const add = (name: string, at: number) =>
        sql.exec("INSERT INTO revoked (kind, name, at) VALUES ('jti', ?, ?)", name, at);
      for (let index = 0; index < 150; index += 1) {
        add(`expired ${index}`, now - TOKEN_MAX_SECONDS - DAY_SECONDS);
      }
      add("valid", now - TOKEN_MAX_SECONDS + DAY_SECONDS);
      return ["first", "second"].map((jti) => {
        instance.revoke({ jti });
        return rowsOf(state);
      });
    });
    // The valid one and the first, with 50 expired ones, then with the second alone.
    expect(left).toEqual([52, 3]);
    expect(await object.isRevoked("valid", "a", 0)).toBe(true);
  });
});
