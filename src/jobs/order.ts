import type { ImageRequest } from "../contract/request.ts";
import type { Requester } from "../generation/generate.ts";
import type { CacheDirectives } from "../lib/cache-control.ts";

/** Generations that are asked for together, and that nobody waits for. */
export interface Order {
  /** Whether it is a batch, or one job. */
  isBatch: boolean;
  requests: readonly OrderedRequest[];
  requester: Requester;
  directives: CacheDirectives;
  /** The gateway's own, for URLs. */
  origin: string;
  /** Who is to be told when all of it is over. */
  webhookUrl: string | undefined;
  /**
   * Identifies what is ordered, where another order under the same name must be refused; absent where
   * the name alone identifies it.
   */
  requestFingerprint?: string | undefined;
  /** The same, as version 0.1.0 stores and compares it: made of cache keys. */
  fingerprint: string | undefined;
}

export interface OrderedRequest {
  /** The client's own name for it, in a batch. */
  customId: string | undefined;
  request: ImageRequest;
}
