/** A Durable Object that was just moved or updated responds to the next call. */
const CALL_ATTEMPTS = 3;
const CALL_PAUSE_MS = 100;

/**
 * Calls a Durable Object, retrying twice, because it may have been moved or restarted mid-call. So every
 * RPC must be idempotent. Overload errors are not retried.
 *
 * @param call `isRetry` is true if an earlier call may have arrived
 */
export async function retryRpc<Result>(
  call: (isRetry: boolean) => Promise<Result>,
): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call(attempt > 1);
    } catch (error) {
      if (attempt === CALL_ATTEMPTS || isOverloaded(error)) throw error;
    }
    await scheduler.wait(CALL_PAUSE_MS * attempt);
  }
}

function isOverloaded(error: unknown): boolean {
  return error instanceof Error && "overloaded" in error && error.overloaded === true;
}
