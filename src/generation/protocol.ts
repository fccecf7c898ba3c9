import type { ChargedAccounts } from "../access/accounts.ts";
import type { CachedImage } from "../cache/cache.ts";
import type { GenerationRecord, Resolved } from "../contract/record.ts";
import type { StoredRequest } from "../contract/stored-request.ts";
import type { Failure } from "../errors/failure.ts";
import type { ImageType } from "../lib/image-type.ts";
import type { KeyClaim } from "./idempotency.ts";
import type { SentIdentity } from "./identity.ts";

/*
 * The messages between a Worker and a Generation object. A deployment replaces busy objects up to 15
 * minutes late, so each version must understand the other's: names of methods and fields stay.
 */

/** The time that a start may take: it calls the accounts, or waits until another start has called them. */
export const START_MS = 90_000;

/** The time that a deletion may take: it settles the cost first. */
export const DELETE_MS = 60_000;

/** The time that a write of the record under a request key may take: it waits for earlier ones. */
export const WRITE_RECORD_MS = 60_000;

/** The request that starts a generation. The object stores it. */
export interface StartRequest extends SentIdentity {
  /** The cache key of the request. */
  key: string;
  request: StoredRequest;
  /** The accounts that are charged if this request starts the generation. */
  payer: ChargedAccounts;
  /** True if the images may be stored in KV; `no-store` forbids it. */
  store: boolean;
  /** How long the object retains the images, for waiting clients and KV's slow negative entries. */
  keepSeconds: number;
  /** The maximum age of a completed generation that may be joined. */
  maxAgeSeconds: number;
  /** The Idempotency-Key that is claimed if this request starts the generation. */
  claim?: KeyClaim | undefined;
  /** True if no other request shares the object. */
  isOwn?: boolean;
  /** Identifies the call: a retry of it returns the generation that the first call started. */
  attempt?: string;
}

/** The state of a generation, as clients see it. */
export type GenerationState = "queued" | "in_progress" | "done" | "failed";

/** The progress of a generation. */
export interface Progress {
  id: string;
  /** Unix seconds. */
  created: number;
  state: GenerationState;
  /** The partial images after those that the client has seen. */
  partials: PartialImage[];
  /** The record of a completed generation. */
  record?: GenerationRecord;
  /** The opened images of a completed generation, if the query requests them. They save a round trip. */
  images?: ReadableStream<Uint8Array>[];
  /** The failure of a failed generation. */
  failure?: Failure;
}

/** The partial images that a client has, and its wait for the next state. */
export interface ProgressQuery {
  /** The number of partial images that it has. */
  seen: number;
  /** How long to wait for news. */
  waitMs: number;
  /** True if the response must include the images once the generation has completed. */
  withImages: boolean;
}

/** The number of seen partial images of a client that receives none. */
export const WITHOUT_PARTIALS = Number.MAX_SAFE_INTEGER;

/** Queries the progress without waiting for news. */
export const WITHOUT_WAITING: ProgressQuery = { seen: 0, waitMs: 0, withImages: false };

/** Opens the images of a completed generation. */
export const OPEN_IMAGES: ProgressQuery = { seen: WITHOUT_PARTIALS, waitMs: 0, withImages: true };

/** How a start waits, and whether it repeats an earlier call. Version 0.1.0 sends neither. */
export interface StartQuery extends ProgressQuery {
  /** True if an earlier call of the same attempt may have arrived. */
  isRetry: boolean;
}

/** The progress of the generation that was started or joined. */
export interface StartResponse extends Progress {
  /** True if an earlier request started it. */
  joined: boolean;
  /** The identity of the sender that started it, if the upstream is sent an identifier. */
  identity?: string;
  /** True if the request joined the generation while it was in progress, also if it has ended by now. */
  collapsed?: boolean;
  /** True if the request does not accept the generation: it is too old, or has fewer images than requested. */
  isUnacceptable?: boolean;
  /** The id of another generation, which holds the Idempotency-Key. Then nothing was started. */
  heldBy?: string;
}

/** An image that an object stores. */
export interface ObjectImage extends CachedImage {
  /** True if no cache may store it: the request said `no-store`. */
  isPrivate: boolean;
}

/** A partial image in the object. */
export interface PartialImage {
  /** The upstream's index, from 0. */
  index: number;
  /** The slot of its bytes in SQLite. */
  slot: number;
  type: ImageType;
  sizeBytes: number;
  resolved: Resolved;
  /** Unix seconds. */
  created: number;
}
