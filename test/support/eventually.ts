import { vi } from "vitest";

/** Waits until an assertion holds; long enough for a machine that has other things to do as well. */
export function eventually<Result>(assertion: () => Result | Promise<Result>): Promise<Result> {
  return vi.waitFor(assertion, { timeout: 10_000, interval: 20 });
}
