import type { Cache } from "../cache/cache.ts";
import type { Config } from "../config/environment.ts";
import type { Failure } from "../errors/failure.ts";
import { errorFields, log } from "../telemetry/log.ts";
import type { StartRequest } from "./protocol.ts";

/*
 * A moderation block is stored under the key of its request. If the client sent identifiers, it is stored
 * under the identity of the sender instead: the upstream may have blocked the sender and not the prompt.
 */

/**
 * Stores a moderation block in KV. For a minute the Durable Object returns it too, so a failed write is only
 * logged.
 */
export async function storeModerationBlock(
  { key, identity, isAutomatic = false }: StartRequest,
  block: Failure,
  cache: Cache,
  { moderationBlockTtlSeconds }: Config,
): Promise<void> {
  const name = isAutomatic || identity === undefined ? key : identity;
  try {
    await cache.storeModerationBlock(name, block, moderationBlockTtlSeconds);
  } catch (error) {
    log("error", "cache_write_failed", errorFields(error));
  }
}

/** Returns the moderation block of a request, or of its sender; `undefined` without one. */
export async function moderationBlockOf(
  key: string,
  identity: string | undefined,
  cache: Cache,
): Promise<Failure | undefined> {
  const names = identity === undefined ? [key] : [key, identity];
  const blocks = await Promise.all(names.map((name) => cache.moderationBlock(name)));
  return blocks.find((block) => block !== undefined);
}
