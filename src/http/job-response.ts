import type { Context } from "hono";
import { formerPrincipal, storedCaller, type Caller } from "../access/caller.ts";
import { requireNoStream, type PendingJobResponse } from "../contract/job.ts";
import type { ImageRequest } from "../contract/request.ts";
import { toStoredRequest } from "../contract/stored-request.ts";
import { GatewayError } from "../errors/failure.ts";
import { lookupById } from "../generation/lookup.ts";
import { requestIdentity, requestKeys } from "../generation/key.ts";
import { cancelJobs } from "../jobs/cancel.ts";
import { jobBatchOf } from "../jobs/client.ts";
import type { JobView } from "../jobs/object.ts";
import { submitJobs, type SubmissionName } from "../jobs/submit.ts";
import type { JobSubmission } from "../jobs/submission.ts";
import type { CacheDirectives } from "../lib/cache-control.ts";
import { cancellerOf } from "./canceller.ts";
import type { AppEnv } from "./context.ts";
import { failureResponse } from "./error-response.ts";
import {
  generationResponse,
  pendingResponse,
  type ResponseOptions,
} from "./generation-response.ts";

/** A request to submit a job. */
export interface JobRequest {
  request: ImageRequest;
  caller: Caller;
  directives: CacheDirectives;
  /** The checked URL; `undefined` if no webhook is requested. */
  webhookUrl: string | undefined;
}

/** The name of a submission and the fingerprints of its request. Without a name it is a new job. */
interface NamedRequest extends Pick<JobSubmission, "fingerprint" | "requestFingerprint"> {
  named: SubmissionName | undefined;
}

/**
 * Returns the name of a submission with an Idempotency-Key.
 *
 * @param prefix a single job and a batch may have the same key
 */
export function submissionName(
  prefix: "job" | "batch",
  caller: Caller,
  idempotencyKey: string,
): SubmissionName {
  const nameIn = (principal: string) => `${prefix}/${principal}/${idempotencyKey}`;
  const former = formerPrincipal(caller);
  return {
    name: nameIn(caller.principal),
    formerName: former === undefined ? undefined : nameIn(former),
  };
}

/**
 * Submits jobs and returns the id of the batch, or of the only job. A client that disconnects meanwhile does not
 * interrupt it: jobs that are counted and stored, but not started, would never run.
 */
export function submittedId(
  named: SubmissionName | undefined,
  submission: JobSubmission,
  c: Context<AppEnv>,
): Promise<string> {
  const submitting = submitJobs(c.get("config"), named, submission);
  c.executionCtx.waitUntil(submitting.catch(() => undefined));
  return submitting;
}

/** Submits a job and returns 202 with its URL. A repeated Idempotency-Key returns the same job. */
export async function submittedJobResponse(
  job: JobRequest,
  idempotencyKey: string | undefined,
  c: Context<AppEnv>,
): Promise<Response> {
  if (idempotencyKey === undefined) {
    return submit(job, { named: undefined, fingerprint: undefined }, c);
  }
  const { request, caller, webhookUrl } = job;
  const keys = await requestKeys(request.spec, c.get("config").upstream.baseUrl);
  const identity = await requestIdentity(request.spec, keys);
  const withUrl = (text: string) => `${text} ${webhookUrl ?? ""}`;
  const namedRequest = {
    named: submissionName("job", caller, idempotencyKey),
    fingerprint: withUrl(identity.requestKey),
    requestFingerprint: withUrl(identity.fingerprint),
  };
  return submit(job, namedRequest, c);
}

/** Submits the job of a webhook. A repeated delivery of the webhook returns the same job. */
export function webhookJobResponse(
  job: JobRequest,
  webhookId: string,
  c: Context<AppEnv>,
): Promise<Response> {
  const name = `webhook/${job.caller.principal}/${webhookId}`;
  return submit(job, { named: { name, formerName: undefined }, fingerprint: undefined }, c);
}

async function submit(
  { request, caller, directives, webhookUrl }: JobRequest,
  { named, ...fingerprints }: NamedRequest,
  c: Context<AppEnv>,
): Promise<Response> {
  const config = c.get("config");
  requireNoStream(request);
  const submission = {
    isBatch: false,
    requests: [{ customId: undefined, request: toStoredRequest(request) }],
    requester: storedCaller(caller),
    directives,
    origin: new URL(c.req.url).origin,
    webhookUrl,
    ...fingerprints,
  };
  const id = await submittedId(named, submission, c);
  c.get("event").add({ job: id });
  const job = await jobBatchOf(config, "job", id)?.job(id);
  if (job === undefined) throw new GatewayError({ code: "generation_not_found" });
  return pendingResponse(pendingFields(job), c);
}

/**
 * Cancels a job and returns its state.
 *
 * @throws {GatewayError} `generation_not_found`; `cancel_not_allowed`; those of `cancellerOf`
 */
export async function cancelledJobResponse(id: string, c: Context<AppEnv>): Promise<Response> {
  const config = c.get("config");
  const by = await cancellerOf(c);
  const jobBatch = jobBatchOf(config, "job", id);
  const isKnown = jobBatch !== undefined && (await cancelJobs(jobBatch, id, by, config));
  const job = isKnown ? await jobBatch.job(id) : undefined;
  if (job === undefined) throw new GatewayError({ code: "generation_not_found" });
  c.get("event").add({ job: id });
  return c.json(pendingFields(job), 200);
}

export function isJobId(id: string): boolean {
  return id.startsWith("job_");
}

/**
 * Returns the response for a job: that of its generation, or its failure, with the fields of the job.
 * If the client requests no format, the format of the job's request applies.
 *
 * Its status is that of the stored job, as in the batch and the webhook event. A generation may have ended before
 * the job. If it has completed, this lookup ends the job. If it has failed, only the job's Workflow knows whether
 * the job retries, so until then it is in progress.
 *
 * @throws {GatewayError} `generation_not_found`
 */
export async function jobResponse(id: string, options: ResponseOptions): Promise<Response> {
  const { delivery, context, c } = options;
  const jobBatch = jobBatchOf(context.config, "job", id);
  const read = async () => {
    const view = await jobBatch?.job(id);
    if (view === undefined) throw new GatewayError({ code: "generation_not_found" });
    return view;
  };
  const job = await read();
  context.event.add({ job: id });
  const { generationId } = job;
  if (job.failure !== undefined || generationId === undefined) return imagelessResponse(job, c);
  const format = delivery.format ?? job.responseFormat;
  try {
    const result = await lookupById(generationId, format, context);
    if (result === undefined) throw new GatewayError({ code: "generation_not_found" });
    return await generationResponse(result, {
      ...options,
      delivery: { ...delivery, format },
      job: {
        pending: pendingFields(job),
        async complete(record) {
          if (job.fields.status === "completed") return job.fields;
          await jobBatch?.finish(id, { record });
          const { fields, failure } = await read();
          if (failure !== undefined) throw new GatewayError(failure);
          return fields;
        },
      },
    });
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    const current = await read();
    // The failure of this lookup, not that of the job.
    if (current.fields.status === "completed")
      return failureResponse(error.failure, c, current.fields);
    return imagelessResponse(current, c);
  }
}

/** Returns the response for a job without a generation to return: its failure, or 202. */
function imagelessResponse(job: JobView, c: Context<AppEnv>): Response {
  return job.failure === undefined
    ? pendingResponse(pendingFields(job), c)
    : failureResponse(job.failure, c, job.fields);
}

function pendingFields({ fields, created }: JobView): PendingJobResponse {
  return { id: fields.job, created, ...fields };
}
