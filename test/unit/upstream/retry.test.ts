import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { retryDelayMs } from "../../../src/upstream/retry.ts";

describe("the wait before the next attempt", () => {
  it("doubles, with up to half of it taken off at random", () => {
    const longest = [1, 2, 3, 4].map((attempt) => retryDelayMs(attempt, 5, undefined, 0));
    expect(longest).toEqual([500, 1000, 2000, 4000]);
    expect(retryDelayMs(1, 5, undefined, 1)).toBe(250);
  });

  it("is what the upstream asked for, if that is bearable", () => {
    expect(retryDelayMs(1, 2, 3, 0.5)).toBe(3000);
    expect(retryDelayMs(1, 2, 0, 0.5)).toBe(0);
    expect(retryDelayMs(1, 2, 20, 0.5)).toBe(20_000);
    expect(retryDelayMs(1, 2, 21, 0.5)).toBeUndefined();
  });

  it("comes to an end, whatever is asked", () => {
    const asked = fc.option(fc.nat(), { nil: undefined });
    fc.assert(
      fc.property(
        fc.nat(20),
        fc.nat(5),
        asked,
        fc.double({ min: 0, max: 1, noNaN: true }),
        (attempt, maxRetries, seconds, random) => {
          const delayMs = retryDelayMs(attempt + 1, maxRetries, seconds, random);
          const isOver = attempt + 1 > maxRetries || (seconds ?? 0) > 20;
          expect(delayMs === undefined).toBe(isOver);
          expect(delayMs ?? 0).toBeLessThanOrEqual(20_000);
        },
      ),
    );
  });
});
