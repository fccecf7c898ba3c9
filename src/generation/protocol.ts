import type { ChargedAccounts } from "../access/budget.ts";
import type { GenerationRecord, Resolved } from "../contract/record.ts";
import type { ImageRequest } from "../contract/request.ts";
import type { Failure } from "../errors/failure.ts";
import type { ImageType } from "../lib/image-type.ts";

/** What an object is asked to make. */
export interface Job {
  /** The request's key; what is made is kept under it. */
  key: string;
  request: ImageRequest;
  /** Who pays; whoever joins does not. */
  payer: ChargedAccounts;
  /** Whether it goes to KV; `no-store` keeps it out. */
  store: boolean;
  /** How long the object keeps what was made, for waiters and for KV's slow negative entries. */
  keepSeconds: number;
  /** A result that is older than this is made anew. */
  maxAgeSeconds: number;
}

export type GenerationState = "queued" | "in_progress" | "done" | "failed";

/** A generation as far as it is. */
export interface Progress {
  id: string;
  /** Unix seconds. */
  created: number;
  state: GenerationState;
  /** The partial images after those that the caller has seen. */
  partials: PartialImage[];
  /** Once it is done. */
  record?: GenerationRecord;
  /** Its images, opened, where the caller wants them along: that saves a trip to the object. */
  images?: ReadableStream<Uint8Array>[];
  /** Once it has failed. */
  failure?: Failure;
}

/** What a caller knows, and what it wants to be told. */
export interface ProgressQuery {
  /** How many partial images it has. */
  seen: number;
  /** How long it waits for something new. */
  waitMs: number;
  /** Whether it wants the images as soon as they are made. */
  withImages: boolean;
}

/** Asks how far it is by now. */
export const NOW: ProgressQuery = { seen: 0, waitMs: 0, withImages: false };

/** How a job was taken: what there is of its generation by now. */
export interface StartResponse extends Progress {
  /** Whether it was begun for an earlier request. */
  joined: boolean;
}

/** A partial image that can be read from the object. */
export interface PartialImage {
  /** As the upstream counts, from 0. */
  index: number;
  slot: number;
  type: ImageType;
  sizeBytes: number;
  resolved: Resolved;
  /** Unix seconds. */
  created: number;
}
