/** Thrown if work has not ended within its time. The work itself goes on. */
export class TimedOut extends Error {
  override readonly name = "TimedOut";

  constructor(limitMs: number) {
    super(`no response within ${limitMs} ms`);
  }
}

/**
 * Waits for work, but not longer than a time: the platform bounds no call of a binding.
 *
 * @param onLate receives a result that comes later, to close what it has opened
 * @throws {TimedOut} after `limitMs`
 */
export async function within<Result>(
  limitMs: number,
  work: Promise<Result>,
  onLate?: (result: Result) => unknown,
): Promise<Result> {
  const { promise: timedOut, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new TimedOut(limitMs));
    if (onLate !== undefined) work.then(onLate).catch(() => undefined);
  }, limitMs);
  try {
    return await Promise.race([work, timedOut]);
  } finally {
    // A pending timer keeps a Durable Object in memory, and billed.
    clearTimeout(timer);
  }
}
