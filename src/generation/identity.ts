import { addsSafetyIdentifier } from "../access/safety-identifier.ts";
import type { Config } from "../config/environment.ts";
import type { ImageRequest, UpstreamOptions } from "../contract/request.ts";
import type { Failure } from "../errors/failure.ts";
import { hexDigest } from "../lib/sha256.ts";

/*
 * `user` and `safety_identifier` are not in the cache key, so requests with different ones share a
 * generation. A failure because of them is that of one sender alone, and must not reach the others. The same
 * holds for the identifier that the gateway adds for a caller that sends none.
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

/** The identity that the upstream was sent for a generation. */
export interface SentIdentity {
  /** Absent if no identifier was sent. */
  identity?: string | undefined;
  /** True if the gateway added the identifier. */
  isAutomatic?: boolean | undefined;
}

/**
 * Returns the identity of the sender of a new generation, from the client's identifiers or from the one that
 * the gateway adds.
 *
 * @param identity that of the client's own identifiers
 * @param account the name of the caller's account, on which an identifier depends that the gateway adds
 * @param key the cache key of the request
 */
export async function sentIdentity(
  request: ImageRequest,
  { identity, account, key }: { identity: string | undefined; account: string; key: string },
  config: Config,
): Promise<SentIdentity> {
  if (identity !== undefined || !addsSafetyIdentifier(request, config)) return { identity };
  const automatic = await hexDigest(["darkroom-identity/1", key, account]);
  return { identity: automatic, isAutomatic: true };
}

/**
 * Returns a failure of the upstream with the identity that it belongs to. A moderation block belongs to an
 * identity that the client sent, because the upstream may have blocked the sender and not the prompt.
 */
export function failureOfSender(
  failure: Failure,
  { identity, isAutomatic = false }: SentIdentity,
): Failure {
  if (identity === undefined) return failure;
  const isOfSender =
    (failure.code === "moderation_blocked" && !isAutomatic) ||
    (failure.code === "upstream_rejected" && failure.isAboutSender === true);
  return isOfSender ? { ...failure, identity } : failure;
}

/**
 * Returns true if a failure belongs to another sender.
 *
 * @param identity that of the request that receives the failure
 */
export function belongsToAnotherSender(failure: Failure, identity: string | undefined): boolean {
  return isAnotherSender("identity" in failure ? failure.identity : undefined, identity);
}

/**
 * Returns true if a generation may fail because of a sender that is not the one that waits for it.
 *
 * @param startedBy the identity that was sent
 * @param identity that of the request that waits
 */
export function isAnotherSender(
  startedBy: string | undefined,
  identity: string | undefined,
): boolean {
  return startedBy !== undefined && startedBy !== identity;
}
