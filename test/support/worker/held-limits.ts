import { vi } from "vitest";

/** A time limit of a call that is in progress. */
interface Limit {
  number: number;
  end: () => void;
}

/** Shorter timers are pauses. */
const SHORTEST_LIMIT_MS = 5000;

/** Oldest first. */
const limits = new Set<Limit>();
let lastNumber = 0;

/**
 * Holds the time limits of calls, so that none ends because a machine is slow. A call that hangs ends its own
 * limit at once. `vi.restoreAllMocks()` restores them.
 */
export function holdLimits(): void {
  const platform = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };
  vi.spyOn(globalThis, "setTimeout").mockImplementation(((work: () => void, ms = 0) => {
    if (ms < SHORTEST_LIMIT_MS) return platform.setTimeout(work, ms);
    lastNumber += 1;
    const limit = { number: lastNumber, end: work };
    limits.add(limit);
    return limit;
  }) as typeof setTimeout);
  vi.spyOn(globalThis, "clearTimeout").mockImplementation((timer) => {
    if (!limits.delete(timer as unknown as Limit)) platform.clearTimeout(timer);
  });
}

/** Never settles. If a test holds limits, ends the one of the call that hangs: its caller sets it next. */
export async function hang(): Promise<never> {
  const before = lastNumber;
  await Promise.resolve();
  const own = [...limits].find(({ number }) => number > before);
  if (own !== undefined) {
    limits.delete(own);
    own.end();
  }
  return new Promise<never>(() => undefined);
}
