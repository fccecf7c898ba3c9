import type { UpstreamOptions } from "../contract/request.ts";
import type { Failure } from "../errors/failure.ts";
import { hexDigest } from "../lib/sha256.ts";

/*
 * `user` and `safety_identifier` are not in the cache key, so requests with different ones share a
 * generation. A failure because of them is that of one sender alone, and must not reach the others.
 */

/**
 * Returns the identity of the sender of a request: a hash of the identifiers that the client sent for the
 * request of this key. `undefined` if it sent none.
 *
 * @param key the cache key of the request
 */
export async function identityOf(
  { user, safetyIdentifier }: UpstreamOptions,
  key: string,
): Promise<string | undefined> {
  if (user === undefined && safetyIdentifier === undefined) return undefined;
  return hexDigest(["darkroom-identity/1", key, user ?? null, safetyIdentifier ?? null]);
}

/** The parameters whose errors are those of the sender. */
const IDENTIFIERS: ReadonlySet<string | null> = new Set(["user", "safety_identifier"]);

/**
 * Returns a failure of the upstream with the identity that it belongs to. A moderation block belongs to the
 * identity that was sent, because the upstream may have blocked the sender and not the prompt.
 *
 * @param identity that of the request that was sent
 */
export function failureOfSender(failure: Failure, identity: string | undefined): Failure {
  if (identity === undefined) return failure;
  const isOfSender =
    failure.code === "moderation_blocked" ||
    (failure.code === "upstream_rejected" && IDENTIFIERS.has(failure.error.param));
  return isOfSender ? { ...failure, identity } : failure;
}

/**
 * Returns true if a failure belongs to another sender.
 *
 * @param identity that of the request that receives the failure
 */
export function isOfAnotherSender(failure: Failure, identity: string | undefined): boolean {
  return isAnotherSender("identity" in failure ? failure.identity : undefined, identity);
}

/**
 * Returns true if a generation may fail because of a sender that is not the one that waits for it.
 *
 * @param owner the identity that was sent
 * @param identity that of the request that waits
 */
export function isAnotherSender(owner: string | undefined, identity: string | undefined): boolean {
  return owner !== undefined && owner !== identity;
}
