import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nextAlarmStep } from "../../../src/jobs/lifecycle.ts";
import type { StoredBatch, StoredDelivery, StoredJob } from "../../../src/jobs/storage.ts";
import type { Attempt } from "../../../src/jobs/delivery.ts";
import { parseCacheControl } from "../../../src/lib/cache-control.ts";
import { DAY_SECONDS } from "../../../src/lib/clock.ts";

const CREATED_MS = Date.UTC(2026, 10, 26);
const WEEK_MS = 7 * DAY_SECONDS * 1000;
const CHECK_MS = 2000;

const LOCAL = () => true;
const DEPLOYED = () => false;

function batch(delivery?: Partial<StoredDelivery>): StoredBatch {
  return {
    id: "batch_a",
    isBatch: true,
    created: CREATED_MS / 1000,
    open: 0,
    requester: {
      principal: "network/local",
      rateKey: "local",
      payer: { caller: "public", account: "network/local", token: undefined },
      token: undefined,
    },
    directives: parseCacheControl(undefined),
    origin: "https://gateway.example",
    webhookUrl: undefined,
    fingerprint: undefined,
    delivery: delivery && {
      eventId: "evt_a",
      body: undefined,
      deliverer: undefined,
      attempts: [],
      nextAttemptAt: undefined,
      ...delivery,
    },
  };
}

function job(id: string, hasEnded: boolean): StoredJob {
  return {
    id,
    position: 0,
    customId: undefined,
    request: undefined,
    responseFormat: "url",
    generationId: undefined,
    outcome: hasEnded ? { failure: { code: "cancelled" } } : undefined,
  };
}

function attempt(outcome: Attempt["outcome"]): Attempt {
  return { at: CREATED_MS / 1000, outcome, status: undefined, retryAfterSeconds: undefined };
}

/** Returns the jobs whose Workflows an alarm of local development watches. */
function watched(stored: StoredBatch, jobs: readonly StoredJob[]): readonly string[] {
  const step = nextAlarmStep(stored, jobs, LOCAL, CREATED_MS);
  return step.kind === "watch" ? step.jobs : [];
}

describe("the alarm of a batch", () => {
  it("deletes the batch after exactly seven days, with any variables", () => {
    const invalid = () => {
      throw new Error("an invalid variable");
    };
    const stored = batch();
    const open = [job("job_a", false)];
    expect(nextAlarmStep(stored, open, invalid, CREATED_MS + WEEK_MS)).toEqual({ kind: "delete" });
    expect(nextAlarmStep(undefined, [], invalid, CREATED_MS)).toEqual({ kind: "delete" });
    const before = nextAlarmStep(stored, open, LOCAL, CREATED_MS + WEEK_MS - 1);
    expect(before).toMatchObject({ kind: "watch", untilMs: CREATED_MS + WEEK_MS });
  });

  it("is not set before the deletion outside local development, because version 0.1.0 deletes on any alarm", () => {
    fc.assert(
      fc.property(fc.nat(WEEK_MS - 1), fc.boolean(), fc.boolean(), (afterMs, hasEnded, isDue) => {
        const stored = batch(isDue ? { body: "{}", deliverer: "job_a" } : undefined);
        const step = nextAlarmStep(
          stored,
          [job("job_a", hasEnded)],
          DEPLOYED,
          CREATED_MS + afterMs,
        );
        expect(step).toEqual({ kind: "sleep", untilMs: CREATED_MS + WEEK_MS });
      }),
    );
  });

  it("watches open jobs in local development, and not those that have ended", () => {
    const jobs = [job("job_a", true), job("job_b", false)];
    const step = nextAlarmStep(batch(), jobs, LOCAL, CREATED_MS);
    expect(step).toEqual({ kind: "watch", untilMs: CREATED_MS + CHECK_MS, jobs: ["job_b"] });
    const ended = nextAlarmStep(batch(), [job("job_a", true)], LOCAL, CREATED_MS);
    expect(ended).toEqual({ kind: "sleep", untilMs: CREATED_MS + WEEK_MS });
  });

  it.each<[string, Partial<StoredDelivery>, boolean]>([
    ["that was not attempted", {}, true],
    ["that waits for a retry", { attempts: [attempt("failed")], nextAttemptAt: 1 }, true],
    ["that succeeded", { attempts: [attempt("delivered")] }, false],
    ["that the receiver ended", { attempts: [attempt("gone")] }, false],
    ["that was given up", { attempts: [attempt("failed")] }, false],
  ])("watches the job that must deliver a webhook %s: %o → %s", (_, delivery, isWatched) => {
    const stored = batch({ body: "{}", deliverer: "job_b", ...delivery });
    const jobs = [job("job_a", true), job("job_b", true)];
    expect(watched(stored, jobs)).toEqual(isWatched ? ["job_b"] : []);
  });
});
