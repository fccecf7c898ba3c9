import { serialize } from "node:v8";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { GenerationRecord } from "../../../src/contract/record.ts";
import { storableOutcome } from "../../../src/jobs/outcome.ts";
import type { JobOutcome, StoredBatch, StoredJob } from "../../../src/jobs/storage.ts";
import { webhookEvent } from "../../../src/jobs/views.ts";

/** The platform's limit for one stored value of a Durable Object. */
const VALUE_BYTES = 2_000_000;
/** The platform's limit for the result of one call of a Durable Object. */
const CALL_BYTES = 32 * 1024 * 1024;
const MAX_EVENT_BYTES = 1_000_000;
const ORIGIN = `https://${"a".repeat(240)}.example`;

function recordWith(prompts: readonly string[]): GenerationRecord {
  return {
    version: 1,
    id: `gen_${"g".repeat(59)}`,
    created: 1_795_579_918,
    model: "gpt-image-2.6-sunburst",
    resolved: { size: "1024x1024", quality: "high", output_format: "png", background: "opaque" },
    usage: { input_tokens: 1, output_tokens: 2, total_tokens: 3 },
    images: prompts.map((revised_prompt) => ({ type: "png", bytes: 7, revised_prompt })),
  };
}

function jobOf(reached: JobOutcome, position: number, isBatch: boolean): StoredJob {
  const { outcome, isShortened } = storableOutcome(reached, isBatch);
  return {
    id: `job_${String(position).padStart(59, "j")}`,
    position,
    customId: isBatch ? String(position).padStart(64, "漢") : undefined,
    request: undefined,
    responseFormat: "url",
    generationId: "record" in outcome ? outcome.record.id : undefined,
    outcome,
    isShortened,
  };
}

function batchOf(isBatch: boolean): StoredBatch {
  return {
    isBatch,
    id: isBatch ? `batch_${"b".repeat(59)}` : "job_1",
    requester: {
      principal: "public/192.0.2.1",
      payer: { account: "public/192.0.2.1", owner: undefined, ownBudget: undefined },
      token: undefined,
    } as unknown as StoredBatch["requester"],
    directives: {} as StoredBatch["directives"],
    origin: ORIGIN,
    webhookUrl: "https://hooks.example/",
    fingerprint: "f".repeat(20_000),
    requestFingerprint: "f".repeat(20_000),
    created: 1_795_579_918,
    open: 0,
    delivery: undefined,
  };
}

/** Returns the event of jobs with these outcomes, and what is stored about them. */
function ended(outcomes: readonly JobOutcome[], isBatch: boolean) {
  const jobs = outcomes.map((outcome, position) => jobOf(outcome, position, isBatch));
  const batch = batchOf(isBatch);
  const body = JSON.stringify(webhookEvent(batch, jobs, "evt_1", 1_795_579_918));
  const delivery = { eventId: "evt_1", body, deliverer: "job_1", attempts: [], nextAttemptAt: 1 };
  const event = JSON.parse(body) as {
    type: string;
    data: {
      url?: string;
      truncated?: true;
      results_truncated?: true;
      results: { custom_id: string; status: string; response?: object; error?: object }[];
      data: { url: string; revised_prompt?: string }[];
    };
  };
  return { jobs, body, event, batch: { ...batch, delivery } };
}

function utf8Bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}

const LONGEST = "漢".repeat(32_000);

describe("the event of a batch", () => {
  it("is complete if it fits, and says nothing of truncated results", () => {
    const { event } = ended([{ record: recordWith(["a man walks"]) }], true);
    expect(event.data.results[0]?.response).toMatchObject({
      data: [{ revised_prompt: "a man walks" }],
    });
    expect(event.data).not.toHaveProperty("results_truncated");
    expect(event.data).not.toHaveProperty("url");
  });

  it("has the results that fit, in order, and the URL of the batch for the others", () => {
    const long = { record: recordWith(["a".repeat(90_000)]) };
    const outcomes: JobOutcome[] = [
      ...Array.from({ length: 60 }, () => long),
      { failure: { code: "upstream_outcome_unknown" } },
    ];
    const { event, body } = ended(outcomes, true);
    expect(utf8Bytes(body)).toBeLessThanOrEqual(MAX_EVENT_BYTES);
    expect(event.data).toMatchObject({
      results_truncated: true,
      url: `${ORIGIN}/v1/images/batches/batch_${"b".repeat(59)}`,
      request_counts: { total: 61, completed: 60, failed: 1 },
    });
    const { results } = event.data;
    expect(results).toHaveLength(61);
    const complete = results.filter(({ response }) => response !== undefined);
    expect(complete.length).toBeGreaterThan(5);
    expect(results.slice(0, complete.length)).toEqual(complete);
    expect(Object.keys(results[complete.length] ?? {})).toEqual(["custom_id", "job", "status"]);
    expect(results.at(-1)).toHaveProperty("error");
  });

  it("of 100 jobs with ten long revised prompts each has room for all of its results' fields", () => {
    const outcomes = Array.from({ length: 100 }, () => ({
      record: recordWith(Array.from({ length: 10 }, () => LONGEST)),
    }));
    const { event, body, jobs } = ended(outcomes, true);
    expect(utf8Bytes(body)).toBeLessThanOrEqual(MAX_EVENT_BYTES);
    expect(event.data.results).toHaveLength(100);
    expect(serialize(jobs).length).toBeLessThan(CALL_BYTES);
  });
});

describe("the event of a single job", () => {
  it("keeps ten revised prompts of 20,000 ASCII characters", () => {
    const prompts = Array.from({ length: 10 }, () => "a".repeat(20_000));
    const { event } = ended([{ record: recordWith(prompts) }], false);
    expect(event.data.data.map(({ revised_prompt }) => revised_prompt)).toEqual(prompts);
    expect(event.data).not.toHaveProperty("truncated");
  });

  it("has the images and the URL of the job if its revised prompts are too long", () => {
    const prompts = Array.from({ length: 10 }, () => LONGEST);
    const { event, body } = ended([{ record: recordWith(prompts) }], false);
    expect(utf8Bytes(body)).toBeLessThanOrEqual(MAX_EVENT_BYTES);
    expect(event).toMatchObject({
      type: "image.generation.completed",
      data: {
        id: `gen_${"g".repeat(59)}`,
        job: `job_${"0".padStart(59, "j")}`,
        status: "completed",
        truncated: true,
        url: `${ORIGIN}/v1/images/generations/job_${"0".padStart(59, "j")}`,
        size: "1024x1024",
      },
    });
    expect(event.data.data).toHaveLength(10);
    expect(event.data.data[0]).not.toHaveProperty("revised_prompt");
  });

  it("has its failure without the details if those are too long", () => {
    const details = { reason: "a".repeat(1_000_000) };
    const { event } = ended([{ failure: { code: "moderation_blocked", details } }], false);
    expect(event).toMatchObject({
      type: "image.generation.failed",
      data: { status: "failed", error: { code: "moderation_blocked" }, truncated: true },
    });
  });
});

describe("what a batch stores when it ends", () => {
  const text = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 200 }),
    fc.string({ unit: "binary", maxLength: 200 }),
  );
  const long = fc
    .tuple(text, fc.integer({ min: 0, max: 200_000 }))
    .map(([unit, length]) => unit.repeat(Math.ceil(length / Math.max(1, unit.length))));
  const outcome: fc.Arbitrary<JobOutcome> = fc.oneof(
    fc
      .record({ prompts: fc.array(long, { minLength: 1, maxLength: 10 }), resolved: long })
      .map(({ prompts, resolved }) => ({
        record: { ...recordWith(prompts), resolved: { quality: resolved } },
      })),
    fc.record({
      failure: fc.record({ code: fc.constant("moderation_blocked" as const), details: long }),
    }),
    long.map((message) => ({
      failure: {
        code: "upstream_rejected" as const,
        status: 400,
        error: { message, type: null, param: null, code: null },
      },
    })),
  );

  it("fits into the values of a Durable Object, whatever the texts of its outcomes are", () => {
    fc.assert(
      fc.property(fc.array(outcome, { minLength: 1, maxLength: 12 }), fc.boolean(), (all, many) => {
        const isBatch = many || all.length > 1;
        const { jobs, body, batch } = ended(all, isBatch);
        expect(utf8Bytes(body)).toBeLessThanOrEqual(MAX_EVENT_BYTES);
        expect(serialize(batch).length).toBeLessThan(VALUE_BYTES);
        for (const job of jobs) expect(serialize(job).length).toBeLessThan(VALUE_BYTES);
      }),
      { numRuns: 60 },
    );
  });
});
