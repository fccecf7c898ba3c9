import type { Caller, TokenIdentity } from "../access/caller.ts";
import { TURNSTILE_SUBJECT } from "../access/token.ts";

/** The authenticated client that cancels a job or batch: the operator, or the holder of a token. */
export type Canceller = "admin" | TokenIdentity;

/** A cancellation that was allowed. */
export interface Cancellation {
  /**
   * The job whose Workflow must deliver the webhook now, because this cancellation ended the batch. That
   * Workflow may be asleep. `undefined` otherwise.
   */
  deliverer: string | undefined;
}

/**
 * Returns true if a client may cancel a job: the operator, the token that submitted it, or a token of the
 * same subject. All visitors share one subject, which therefore does not count.
 */
export function mayCancel(by: Canceller, { token }: Caller): boolean {
  if (by === "admin") return true;
  if (token === undefined) return false;
  return by.jti === token.jti || (by.sub === token.sub && by.sub !== TURNSTILE_SUBJECT);
}
