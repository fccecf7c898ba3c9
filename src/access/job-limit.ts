import type { Config } from "../config/environment.ts";
import { GatewayError } from "../errors/failure.ts";
import { ifImplemented } from "../lib/object-client.ts";
import { accountOf, callerAccount } from "./charged-accounts.ts";
import type { JobClaim } from "./open-jobs.ts";

/** The Retry-After of a caller with too many open jobs: the time in which the upstream makes a few images. */
const RETRY_SECONDS = 60;

/**
 * Counts the jobs of a submission as open jobs of their caller.
 *
 * @param account the name of the caller's account
 * @param submission the id of the Durable Object that stores the submission
 */
export async function claimOpenJobs(
  config: Config,
  account: string,
  submission: string,
  jobs: number,
): Promise<JobClaim> {
  const { maxOpenJobsPerCaller: limit } = config;
  const claim = await ifImplemented(() =>
    accountOf(config, callerAccount(account)).claimJobs(submission, jobs, limit),
  );
  return claim ?? "claimed";
}

/**
 * Lowers the count of a submission to its jobs that have not ended; idempotent.
 *
 * @throws if the account is unreachable
 */
export async function lowerOpenJobs(
  config: Config,
  account: string,
  submission: string,
  open: number,
): Promise<void> {
  await ifImplemented(() => accountOf(config, callerAccount(account)).lowerJobs(submission, open));
}

/** Returns the error for a caller with too many open jobs. */
export function tooManyOpenJobs({ maxOpenJobsPerCaller: limit }: Config): GatewayError {
  return new GatewayError({
    code: "rate_limit_exceeded",
    reason: "open_jobs",
    retryAfterSeconds: RETRY_SECONDS,
    policy: `"open_jobs";q=${limit};qu="jobs"`,
    limit,
  });
}
