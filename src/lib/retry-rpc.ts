/** An object that was just moved or updated answers the next call. */
const CALL_ATTEMPTS = 3;
const CALL_PAUSE_MS = 100;

/**
 * Calls an object. One that broke meanwhile (moved, updated, restarted) is called again: every call
 * may be made twice. One that has too much to do is not.
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
