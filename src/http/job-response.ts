import type { Context } from "hono";
import { requireWebhookUrl } from "../access/webhook-url.ts";
import { mayPass, requireNoStream } from "../contract/job.ts";
import type { ResponseFormat } from "../contract/models.ts";
import type { ImageRequest } from "../contract/request.ts";
import { GatewayError } from "../errors/failure.ts";
import { lookupById, type Requester } from "../generation/generate.ts";
import { requestIdentity, requestKeys } from "../generation/key.ts";
import { jobBatchOf, submitJobs } from "../jobs/submit.ts";
import type { JobSubmission } from "../jobs/submission.ts";
import type { CacheDirectives } from "../lib/cache-control.ts";
import type { AppEnv } from "./context.ts";
import { failureResponse } from "./error-response.ts";
import { pendingResponse, respond, type RespondOptions } from "./generation-response.ts";

export interface JobOrder {
  request: ImageRequest;
  requester: Requester;
  directives: CacheDirectives;
  /** As it was checked; `undefined` where nobody is to be called back. */
  webhookUrl: string | undefined;
}

/** What an order is known by, and what it then stands for; a nameless one stands for itself. */
interface OrderName extends Pick<JobSubmission, "fingerprint" | "requestFingerprint"> {
  name: string | undefined;
}

/** Takes a job of one request, and says where it will be; an Idempotency-Key is the same job again. */
export async function orderedJob(
  order: JobOrder,
  idempotencyKey: string | undefined,
  c: Context<AppEnv>,
): Promise<Response> {
  if (idempotencyKey === undefined) {
    return submitted(order, { name: undefined, fingerprint: undefined }, c);
  }
  const { request, requester, webhookUrl } = order;
  const keys = await requestKeys(request, c.get("config").upstream.baseUrl);
  const identity = await requestIdentity(request, keys);
  const withUrl = (text: string) => `${text} ${webhookUrl ?? ""}`;
  const named = {
    name: `job/${requester.principal}/${idempotencyKey}`,
    fingerprint: withUrl(identity.requestKey),
    requestFingerprint: withUrl(identity.fingerprint),
  };
  return submitted(order, named, c);
}

/** Takes a job that a webhook brings; another delivery of the same webhook is the same job. */
export function webhookJob(
  order: JobOrder,
  webhookId: string,
  c: Context<AppEnv>,
): Promise<Response> {
  const name = `webhook/${order.requester.principal}/${webhookId}`;
  return submitted(order, { name, fingerprint: undefined }, c);
}

async function submitted(
  { request, requester, directives, webhookUrl }: JobOrder,
  { name, ...fingerprints }: OrderName,
  c: Context<AppEnv>,
): Promise<Response> {
  const config = c.get("config");
  requireNoStream(request);
  const id = await submitJobs(config, name, {
    isBatch: false,
    requests: [{ customId: undefined, request }],
    requester,
    directives,
    origin: new URL(c.req.url).origin,
    webhookUrl,
    ...fingerprints,
  });
  c.get("event").add({ job: id });
  const job = await jobBatchOf(config, "job", id)?.job(id);
  if (job === undefined) throw new GatewayError({ code: "generation_not_found" });
  const { fields, created } = job;
  return pendingResponse({ id, created, ...fields }, c);
}

/** The address to call back, where there is to be one. */
export function checkedWebhookUrl(webhookUrl: unknown, c: Context<AppEnv>): string | undefined {
  return webhookUrl === undefined ? undefined : requireWebhookUrl(webhookUrl, c.get("config"));
}

/** Whether an id is that of a job. */
export function isJobId(id: string): boolean {
  return id.startsWith("job_");
}

/**
 * A job as far as it is: its generation's own answer, or its failure, with what there is to say of the
 * job beside it.
 *
 * @param asked how the pictures are to be delivered; as the job's request said where absent
 * @throws {GatewayError} `generation_not_found`
 */
export async function jobAnswer(
  id: string,
  asked: ResponseFormat | undefined,
  options: RespondOptions,
): Promise<Response> {
  const { context, c } = options;
  const job = await jobBatchOf(context.config, "job", id)?.job(id);
  if (job === undefined) throw new GatewayError({ code: "generation_not_found" });
  const { fields, created, generationId, failure } = job;
  context.event.add({ job: id });
  if (failure !== undefined) return failureResponse(failure, c, fields);
  if (generationId === undefined) return pendingResponse({ id, created, ...fields }, c);
  const format = asked ?? job.responseFormat;
  try {
    const found = await lookupById(generationId, format, context);
    if (found === undefined) throw new GatewayError({ code: "generation_not_found" });
    return await respond(found, format, { ...options, job: fields });
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    if (error.failure.code === "generation_not_found") {
      return failureResponse(error.failure, c, fields);
    }
    // The job learns of it only now, and may try again.
    return mayPass(error.failure)
      ? pendingResponse({ id, created, ...fields, status: "queued" }, c)
      : failureResponse(error.failure, c, { ...fields, status: "failed" });
  }
}
