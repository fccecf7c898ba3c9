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
   * What is asked for, where another order under the same name must be refused; `undefined` where the
   * name alone says that it is the same.
   */
  fingerprint: string | undefined;
}

export interface OrderedRequest {
  /** The client's own name for it, in a batch. */
  customId: string | undefined;
  request: ImageRequest;
}
