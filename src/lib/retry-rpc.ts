/** A Durable Object that was just moved or updated responds to the next call. */
const CALL_ATTEMPTS = 3;
const CALL_PAUSE_MS = 100;

/**
 * Calls a Durable Object, retrying twice, because it may have been moved or restarted mid-call. So every
 * RPC must be idempotent. Overload errors are not retried.
 */
export async function retryRpc<Result>(call: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      if (attempt === CALL_ATTEMPTS || isOverloaded(error)) throw error;
    }
    await scheduler.wait(CALL_PAUSE_MS * attempt);
  }
}

function isOverloaded(error: unknown): boolean {
  return error instanceof Error && "overloaded" in error && error.overloaded === true;
}
