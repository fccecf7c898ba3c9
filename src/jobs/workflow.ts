import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from "cloudflare:workers";
import { isRevoked } from "../access/revocation.ts";
import { kvCache } from "../cache/cache.ts";
import { configOf, type Config } from "../config/environment.ts";
import { isRetryable } from "../contract/job.ts";
import { withSuccessor } from "../contract/request.ts";
import { fromStoredRequest } from "../contract/stored-request.ts";
import { failureOf, type Failure } from "../errors/failure.ts";
import { generate } from "../generation/generate.ts";
import { awaitCompletion, generationIdOf } from "../generation/result.ts";
import { recordSavings } from "../generation/settlement.ts";
import { nowSeconds } from "../lib/clock.ts";
import { ifImplemented } from "../lib/object-client.ts";
import type { WaitUntil } from "../respond/body.ts";
import { RequestEvent } from "../telemetry/event.ts";
import { errorFields, log } from "../telemetry/log.ts";
import { jobBatchOf, lowerOpenJobsOf, type JobBatchClient } from "./client.ts";
import { attemptDelivery, isFinal, pauseSeconds } from "./delivery.ts";
import type { JobOutcome } from "./storage.ts";
import type { JobInput } from "./submission.ts";

/** The number of times a job that is rate limited waits and retries. */
const MAX_WAITS = 120;
const FIRST_WAIT_SECONDS = 5;
const LONGEST_WAIT_SECONDS = 60;

/**
 * A step throws only if the platform fails or a variable is invalid. The retries span over an
 * hour, to outlast a platform failure. An invalid variable requires the operator.
 */
const GENERATE = {
  retries: { limit: 10, delay: "5 seconds", backoff: "exponential" },
  // Longer than the time limit of a generation, with its overhead.
  timeout: "15 minutes",
} as const;

/** If these retries fail too, the delivery waits for the next attempt of its schedule. */
const DELIVER = {
  retries: { limit: 5, delay: "5 seconds", backoff: "exponential" },
  timeout: "1 minute",
} as const;

/**
 * Runs the generation of one job. If the job is the last of its batch to end, delivers the webhook.
 *
 * The platform resumes a Workflow after restarts and deployments, and may run a step twice. That
 * cannot pay twice: the job's id is the Idempotency-Key of its generation. The id is also the only
 * parameter, so that the platform's own records contain no prompt.
 */
export class ImageJob extends WorkflowEntrypoint<object> {
  override async run({ instanceId: id }: WorkflowEvent<unknown>, step: WorkflowStep) {
    for (let attempt = 1; ; attempt += 1) {
      const wait = await this.#generateOrGiveUp(id, step, () =>
        step.do(`generate ${attempt}`, GENERATE, () => this.#generate(id, attempt)),
      );
      if (wait === null) break;
      await step.sleep(`wait ${attempt}`, `${wait} seconds`);
    }
    for (let attempt = 1; ; attempt += 1) {
      const pause = await step
        .do(`deliver ${attempt}`, DELIVER, () => this.#deliver(id, attempt))
        .catch(() => pauseSeconds(attempt, undefined) ?? null);
      if (pause === null) return;
      await step.sleep(`pause ${attempt}`, `${pause} seconds`);
    }
  }

  /** Fails the job if its step fails. An open job would keep its batch open and its webhook undelivered. */
  async #generateOrGiveUp(
    id: string,
    step: WorkflowStep,
    generate: () => Promise<number | null>,
  ): Promise<number | null> {
    try {
      return await generate();
    } catch {
      await step.do("give up", GENERATE, async () => {
        const jobBatch = this.#jobBatch(id);
        await jobBatch.finish(id, { failure: { code: "internal_error" } });
        try {
          await lowerOpenJobsOf(jobBatch, configOf(this.env));
        } catch (error) {
          // The account forgets the job after a week. The webhook must not wait for it.
          log("error", "open_jobs_not_lowered", { id, ...errorFields(error) });
        }
      });
      return null;
    }
  }

  /** Runs one attempt. Returns the seconds until the next one; `null` if the job has ended. */
  async #generate(id: string, attempt: number): Promise<number | null> {
    const jobBatch = this.#jobBatch(id);
    const wait = await this.#attempt(id, attempt, jobBatch);
    // In this step, so that the platform repeats it until the account has the count.
    if (wait === null) await lowerOpenJobsOf(jobBatch, configOf(this.env));
    return wait;
  }

  async #attempt(id: string, attempt: number, jobBatch: JobBatchClient): Promise<number | null> {
    const input = await jobBatch.task(id);
    if (input === undefined) return null;
    const waitUntil: WaitUntil = (work) => this.ctx.waitUntil(work);
    const outcome = await runGeneration(id, input, {
      config: configOf(this.env),
      jobBatch,
      waitUntil,
    });
    const failure = "failure" in outcome ? outcome.failure : undefined;
    if (failure !== undefined && isRetryable(failure) && attempt <= MAX_WAITS) {
      const hasEnded = await ifImplemented(() => jobBatch.endAttempt(id));
      if (hasEnded !== true) {
        return Math.max(waitSeconds(attempt, Math.random()), retryAfterOf(failure));
      }
      log("info", "job", { id, error: "cancelled" });
      return null;
    }
    await jobBatch.finish(id, outcome);
    log("info", "job", { id, error: failure?.code });
    return null;
  }

  /** Attempts the delivery. Returns the seconds until the next attempt; `null` if there is none. */
  async #deliver(id: string, attempt: number): Promise<number | null> {
    const jobBatch = this.#jobBatch(id);
    const delivery = await jobBatch.delivery(id);
    if (delivery === undefined) return null;
    const latest = await attemptDelivery(delivery, configOf(this.env));
    const { outcome, status, retryAfterSeconds } = latest;
    const pause = isFinal(outcome) ? undefined : pauseSeconds(attempt, retryAfterSeconds);
    await jobBatch.attempted(latest, pause === undefined ? undefined : nowSeconds() + pause);
    log("info", "delivery", { id: delivery.eventId, job: id, attempt, outcome, status });
    return pause ?? null;
  }

  #jobBatch(id: string): JobBatchClient {
    const jobBatch = jobBatchOf(configOf(this.env), "job", id);
    if (jobBatch === undefined) throw new Error("The Workflow's instance id must be a job id.");
    return jobBatch;
  }
}

/** Upper bound for one wait, if the Retry-After of an upstream is longer. */
const LONGEST_RETRY_AFTER_SECONDS = 60 * 60;

function retryAfterOf(failure: Failure): number {
  const seconds = "retryAfterSeconds" in failure ? (failure.retryAfterSeconds ?? 0) : 0;
  return Math.min(seconds, LONGEST_RETRY_AFTER_SECONDS);
}

interface JobContext {
  config: Config;
  jobBatch: JobBatchClient;
  waitUntil: WaitUntil;
}

/**
 * Runs the generation of a job and returns the job's outcome.
 *
 * @throws an unexpected error, such as one of the platform. The step retries: a generation that was started
 *   holds the job's Idempotency-Key, so that the retry finds it
 */
async function runGeneration(
  id: string,
  input: JobInput,
  { config, jobBatch, waitUntil }: JobContext,
): Promise<JobOutcome> {
  const { requester: caller } = input;
  const context = { config, cache: kvCache(config), event: new RequestEvent(id) };
  const { request, nowMs } = imageRequestOf(input, config);
  const prohibition = await prohibitionOf(input, config);
  if (prohibition !== undefined && !mayBeBound(input)) return { failure: prohibition };
  try {
    // A job that must not start a generation is still delivered one that it is bound to.
    const onlyIfCached = prohibition !== undefined || input.directives.onlyIfCached;
    const directives = { ...input.directives, onlyIfCached };
    const options = { caller, directives, idempotencyKey: id, nowMs };
    const result = await generate(request, options, context);
    await jobBatch.found(id, generationIdOf(result));
    const recording = recordSavings(result, request.spec, caller.payer, config);
    if (recording !== undefined) waitUntil(recording);
    const completed =
      result.kind === "completed" ? result : await awaitCompletion(result, { withImages: false });
    return { record: completed.record };
  } catch (error) {
    const failure = failureOf(error);
    if (failure.code === "not_cached" && prohibition !== undefined) return { failure: prohibition };
    if (failure.code === "internal_error") {
      log("error", "job_broke", { id, ...errorFields(error) });
      throw error;
    }
    return { failure };
  }
}

/** Returns the image request of a job. Its model may have been retired since the submission, days ago. */
function imageRequestOf({ request: stored }: JobInput, config: Config) {
  const nowMs = Date.now();
  const { spec, upstream, delivery } = fromStoredRequest(stored);
  // Only the record is needed here, not the images.
  const byUrl = { ...delivery, format: "url" } as const;
  return {
    nowMs,
    request: { spec: withSuccessor(spec, config, nowMs), upstream, delivery: byUrl },
  };
}

/**
 * Returns why a job must not start a generation: it was cancelled, or the token that submitted it is revoked.
 * A token that has merely expired since then does not end its jobs.
 *
 * @throws if the revocations are unreachable
 */
async function prohibitionOf(
  { isCancelRequested, requester: { token } }: JobInput,
  config: Config,
): Promise<Failure | undefined> {
  if (isCancelRequested === true) return { code: "cancelled" };
  const revoked = token !== undefined && (await isRevoked(config, token));
  return revoked ? { code: "invalid_token", credential: "token", problem: "revoked" } : undefined;
}

/** Returns true if an earlier attempt may have bound the job to a generation. */
function mayBeBound({ generationId, isResumed, isCancelRequested }: JobInput): boolean {
  return generationId !== undefined || isResumed === true || isCancelRequested === true;
}

/**
 * Returns how long a rate-limited job waits before its retry: exponential backoff with jitter, so
 * that jobs that were limited together do not retry together.
 *
 * @param attempt number of attempts so far, from 1
 * @param random from 0 to 1
 */
export function waitSeconds(attempt: number, random: number): number {
  const longest = Math.min(FIRST_WAIT_SECONDS * 2 ** (attempt - 1), LONGEST_WAIT_SECONDS);
  return Math.ceil(longest * (1 - random / 2));
}
