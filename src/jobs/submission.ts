import type { Caller } from "../access/caller.ts";
import type { StoredRequest } from "../contract/stored-request.ts";
import type { CacheDirectives } from "../lib/cache-control.ts";

/** Requests that a client submits together, to run in the background. */
export interface JobSubmission {
  /** True if the client submitted a batch; false for a single job. */
  isBatch: boolean;
  requests: readonly SubmittedRequest[];
  /** The caller that submitted it. Stored batches have the field under this name. */
  requester: Caller;
  directives: CacheDirectives;
  /** The gateway's own origin, for the URLs in responses and webhooks. */
  origin: string;
  /** The URL that receives the webhook once every job has completed or failed. */
  webhookUrl: string | undefined;
  /**
   * Fingerprint of the requests. A different submission under the same name is rejected. Absent if
   * the name alone identifies the submission.
   */
  requestFingerprint?: string | undefined;
  /** The fingerprint that version 0.1.0 stores and compares: it consists of cache keys. */
  fingerprint: string | undefined;
}

/** One request of a submission. */
export interface SubmittedRequest {
  /** The client's `custom_id`; `undefined` outside a batch. */
  customId: string | undefined;
  request: StoredRequest;
}

/** The input of a job. */
export interface JobInput {
  request: StoredRequest;
  requester: Caller;
  directives: CacheDirectives;
  /** The generation that the job is bound to; absent or `undefined` without one. */
  generationId?: string | undefined;
  /** True if an earlier attempt did not report its end, so that it may have started a generation. */
  isResumed?: boolean;
  /** True if the job was cancelled during such an attempt. */
  isCancelRequested?: boolean;
}
