import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from "cloudflare:workers";
import { kvCache } from "../cache/cache.ts";
import { configOf, type Config } from "../config/environment.ts";
import { failureOf, type Failure } from "../errors/failure.ts";
import { recordSavings } from "../generation/savings.ts";
import { generationIdOf, result } from "../generation/result.ts";
import { generate } from "../generation/generate.ts";
import { nowSeconds } from "../lib/clock.ts";
import type { WaitUntil } from "../respond/body.ts";
import { RequestEvent } from "../telemetry/event.ts";
import { errorFields, log } from "../telemetry/log.ts";
import { mayPass } from "../contract/job.ts";
import { withSuccessor } from "../contract/request.ts";
import { attemptDelivery, isFinal, pauseSeconds } from "./delivery.ts";
import type { Task } from "./object.ts";
import type { JobOutcome } from "./storage.ts";
import { jobsOf, type JobsStub } from "./submit.ts";

/** A job that may not begin yet, because its caller has too many others, asks again so often. */
const MAX_WAITS = 120;
const FIRST_WAIT_SECONDS = 5;
const LONGEST_WAIT_SECONDS = 60;

/** What a step throws is the platform's trouble, or a variable that is wrong: over in an hour, or never. */
const GENERATE = {
  retries: { limit: 10, delay: "5 seconds", backoff: "exponential" },
  // Longer than a generation may take, with all that is around it.
  timeout: "15 minutes",
} as const;

/** What this cannot do either waits for the next attempt of the schedule. */
const DELIVER = {
  retries: { limit: 5, delay: "5 seconds", backoff: "exponential" },
  timeout: "1 minute",
} as const;

/**
 * One job: has its generation made, and calls back when it is the last of its order to end.
 *
 * The platform runs it to its end, through restarts and deployments, and may run a step twice. That
 * cannot pay twice: the generation is bound to the job by an Idempotency-Key, which is the job's id.
 * That id is its only parameter: no prompt stands in the platform's own records.
 */
export class ImageJob extends WorkflowEntrypoint<object> {
  override async run({ instanceId: id }: WorkflowEvent<unknown>, step: WorkflowStep) {
    for (let attempt = 1; ; attempt += 1) {
      const wait = await this.#orGiveUp(id, step, () =>
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

  /** A job that cannot be seen to its end must still end: others wait for it, and somebody is to be told. */
  async #orGiveUp(
    id: string,
    step: WorkflowStep,
    generate: () => Promise<number | null>,
  ): Promise<number | null> {
    try {
      return await generate();
    } catch {
      await step.do("give up", GENERATE, async () => {
        await this.#jobs(id).finish(id, { failure: { code: "internal_error" } });
      });
      return null;
    }
  }

  /** @returns seconds after which it may try again; `null` when it is over */
  async #generate(id: string, attempt: number): Promise<number | null> {
    const jobs = this.#jobs(id);
    const task = await jobs.task(id);
    if (task === undefined) return null;
    const waitUntil: WaitUntil = (work) => this.ctx.waitUntil(work);
    const outcome = await made(id, task, { config: configOf(this.env), jobs, waitUntil });
    const failure = "failure" in outcome ? outcome.failure : undefined;
    if (failure !== undefined && mayPass(failure) && attempt <= MAX_WAITS) {
      return Math.max(waitSeconds(attempt, Math.random()), askedSeconds(failure));
    }
    await jobs.finish(id, outcome);
    log("info", "job", { id, error: failure?.code });
    return null;
  }

  /** @returns seconds after which it is to be tried again; `null` when it is over */
  async #deliver(id: string, attempt: number): Promise<number | null> {
    const jobs = this.#jobs(id);
    const delivery = await jobs.delivery(id);
    if (delivery === undefined) return null;
    const made = await attemptDelivery(delivery, configOf(this.env));
    const { outcome, status, retryAfterSeconds } = made;
    const pause = isFinal(outcome) ? undefined : pauseSeconds(attempt, retryAfterSeconds);
    await jobs.attempted(made, pause === undefined ? undefined : nowSeconds() + pause);
    log("info", "delivery", { id: delivery.eventId, job: id, attempt, outcome, status });
    return pause ?? null;
  }

  #jobs(id: string): JobsStub {
    const jobs = jobsOf(configOf(this.env), "job", id);
    if (jobs === undefined) throw new Error("a job's Workflow is named by its id");
    return jobs;
  }
}

/** How long an upstream's wish is heeded at a time. */
const LONGEST_ASKED_SECONDS = 60 * 60;

function askedSeconds(failure: Failure): number {
  const asked = "retryAfterSeconds" in failure ? (failure.retryAfterSeconds ?? 0) : 0;
  return Math.min(asked, LONGEST_ASKED_SECONDS);
}

interface Making {
  config: Config;
  jobs: JobsStub;
  waitUntil: WaitUntil;
}

/**
 * What comes of a job.
 *
 * @throws what went wrong with the platform once the generation is bound to the job: then the step may
 *   run again. Before that whatever happens is the outcome, because nobody knows what was begun.
 */
async function made(
  id: string,
  { request: stored, requester, directives }: Task,
  { config, jobs, waitUntil }: Making,
): Promise<JobOutcome> {
  const cache = kvCache(config.cache, config.cacheTtlSeconds);
  const context = { config, cache, event: new RequestEvent(id) };
  // A job may wait for days: its model may have been retired since it was submitted.
  const nowMs = Date.now();
  const request = withSuccessor(stored, config, nowMs);
  let isBound = false;
  try {
    const found = await generate(
      // Nobody reads the pictures here.
      { ...request, response_format: "url" },
      { requester, directives, idempotencyKey: id, nowMs },
      context,
    );
    isBound = true;
    await jobs.found(id, generationIdOf(found));
    const counting = recordSavings(found, request, requester.payer, config);
    if (counting !== undefined) waitUntil(counting);
    const done = found.kind === "made" ? found : await result(found, { withImages: false });
    return done === undefined
      ? { failure: { code: "upstream_outcome_unknown" } }
      : { record: done.record };
  } catch (error) {
    const failure = failureOf(error);
    if (failure.code === "internal_error") {
      log("error", "job_broke", { id, ...errorFields(error) });
      if (isBound) throw error;
    }
    return { failure };
  }
}

/**
 * How long a job waits that may not begin yet: longer each time, so that many do not ask for ever, and
 * each a little differently, so that they do not ask at once.
 *
 * @param attempt attempts made so far, from 1
 * @param random from 0 to 1
 */
export function waitSeconds(attempt: number, random: number): number {
  const longest = Math.min(FIRST_WAIT_SECONDS * 2 ** (attempt - 1), LONGEST_WAIT_SECONDS);
  return Math.ceil(longest * (1 - random / 2));
}
