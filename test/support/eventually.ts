import { vi } from "vitest";

/** Waits until an assertion holds, for at most 10 seconds: enough for a busy machine. */
export function eventually<Result>(assertion: () => Result | Promise<Result>): Promise<Result> {
  return vi.waitFor(assertion, { timeout: 10_000, interval: 20 });
}
