import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { retryDelayMs } from "../../../src/upstream/retry.ts";

describe("retryDelayMs", () => {
  it("doubles with each attempt, minus up to half at random", () => {
    const longestDelays = [1, 2, 3, 4].map((attempt) => retryDelayMs(attempt, 5, undefined, 0));
    expect(longestDelays).toEqual([500, 1000, 2000, 4000]);
    expect(retryDelayMs(1, 5, undefined, 1)).toBe(250);
  });

  it("follows the upstream's Retry-After up to 20 seconds, and gives up above that", () => {
    expect(retryDelayMs(1, 2, 3, 0.5)).toBe(3000);
    expect(retryDelayMs(1, 2, 0, 0.5)).toBe(0);
    expect(retryDelayMs(1, 2, 20, 0.5)).toBe(20_000);
    expect(retryDelayMs(1, 2, 21, 0.5)).toBeUndefined();
  });

  it("gives up exactly after the last retry or above 20 seconds, for any input", () => {
    const retryAfter = fc.option(fc.nat(), { nil: undefined });
    fc.assert(
      fc.property(
        fc.nat(20),
        fc.nat(5),
        retryAfter,
        fc.double({ min: 0, max: 1, noNaN: true }),
        (attempt, maxRetries, seconds, random) => {
          const delayMs = retryDelayMs(attempt + 1, maxRetries, seconds, random);
          const isGivenUp = attempt + 1 > maxRetries || (seconds ?? 0) > 20;
          expect(delayMs === undefined).toBe(isGivenUp);
          expect(delayMs ?? 0).toBeLessThanOrEqual(20_000);
        },
      ),
    );
  });
});
