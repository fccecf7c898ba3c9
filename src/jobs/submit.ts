import { claimOpenJobs, lowerOpenJobs, tooManyOpenJobs } from "../access/job-limit.ts";
import type { Config } from "../config/environment.ts";
import { GatewayError } from "../errors/failure.ts";
import { ifImplemented, objectClient } from "../lib/object-client.ts";
import type { JobBatchClient } from "./client.ts";
import type { AcceptedBatch } from "./object.ts";
import type { JobSubmission } from "./submission.ts";
import { startWorkflows } from "./workflows.ts";

/** The name of a submission, by which a repetition is recognized. */
export interface SubmissionName {
  name: string;
  /** Its name in version 0.1.0, if it was another one; stored submissions live for a week. */
  formerName: string | undefined;
}

/**
 * Stores a submission and starts its jobs. If its name was used before with the same requests, the
 * existing job or batch is returned.
 *
 * @param named the name of the Durable Object; `undefined` for a new, unnamed one
 * @returns the id of the batch, or of the only job
 * @throws {GatewayError} `idempotency_key_reused` if the name was used with different requests;
 *   `rate_limit_exceeded` if the caller has too many open jobs
 */
export async function submitJobs(
  config: Config,
  named: SubmissionName | undefined,
  submission: JobSubmission,
): Promise<string> {
  const former = await formerSubmission(config, named, submission);
  if (former === undefined) return storeAndStart(config, named, submission);
  await startJobs(config, former);
  return former.id;
}

async function startJobs(config: Config, { openJobs }: AcceptedBatch): Promise<void> {
  if (openJobs.length > 0) await startWorkflows(config, openJobs);
}

/** Returns the submission that version 0.1.0 stored under a name that other callers shared. */
async function formerSubmission(
  config: Config,
  named: SubmissionName | undefined,
  submission: JobSubmission,
): Promise<AcceptedBatch | undefined> {
  if (named?.formerName === undefined) return undefined;
  const objectId = config.jobs.idFromName(named.formerName);
  return existingIn(objectClient(config.jobs, objectId), submission);
}

/**
 * Returns the caller's submission that an object stores already; `undefined` if there is none.
 *
 * @throws {GatewayError} `idempotency_key_reused` if it is a different one
 */
async function existingIn(
  jobBatch: JobBatchClient,
  submission: JobSubmission,
): Promise<AcceptedBatch | undefined> {
  const existing = await ifImplemented(() => jobBatch.existing(submission));
  if (existing === "different") throw new GatewayError({ code: "idempotency_key_reused" });
  return existing;
}

/**
 * Counts the jobs of a submission as open, then stores it and starts its jobs. A submission that is not stored
 * is not counted, and neither is one whose jobs never run.
 *
 * @returns the id of the batch, or of the only job
 * @throws {GatewayError} `idempotency_key_reused`, `rate_limit_exceeded`
 */
async function storeAndStart(
  config: Config,
  named: SubmissionName | undefined,
  submission: JobSubmission,
): Promise<string> {
  const objects = config.jobs;
  const objectId = named === undefined ? objects.newUniqueId() : objects.idFromName(named.name);
  const jobBatch: JobBatchClient = objectClient(objects, objectId);
  const { account } = submission.requester.payer;
  const id = objectId.toString();
  const jobs = submission.requests.length;
  const claim = await claimOpenJobs(config, account, id, jobs);
  if (claim === "refused") {
    const existing = named && (await existingIn(jobBatch, submission));
    if (existing === undefined) throw tooManyOpenJobs(config);
    await startJobs(config, existing);
    return existing.id;
  }
  const uncountIfLost = async (error: unknown): Promise<never> => {
    // The client can repeat a named submission, which may be stored. Any other is lost.
    if (named === undefined) await lowerOpenJobs(config, account, id, 0);
    throw error;
  };
  const accepted = await jobBatch.accept(submission).catch(uncountIfLost);
  const isCounted = accepted !== undefined && (accepted.account ?? account) === account;
  const open = isCounted ? accepted.openJobs.length : 0;
  // Stored already: some of its jobs may have ended, or another account counts them.
  if (claim === "claimed" && open < jobs) await lowerOpenJobs(config, account, id, open);
  if (accepted === undefined) throw new GatewayError({ code: "idempotency_key_reused" });
  await startJobs(config, accepted).catch(uncountIfLost);
  return accepted.id;
}
