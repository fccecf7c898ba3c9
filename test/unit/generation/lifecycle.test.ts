import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  afterFailure,
  isJoinable,
  isOrphaned,
  newGeneration,
  nextStep,
  progressOf,
  recentModerationBlock,
  stepName,
  type Step,
} from "../../../src/generation/lifecycle.ts";
import type { StoredGeneration } from "../../../src/generation/storage.ts";
import { parseImageRequest } from "../../../src/contract/request.ts";
import { toStoredRequest } from "../../../src/contract/stored-request.ts";
import { testConfig } from "../../support/unit-config.ts";

const NOW_MS = Date.UTC(2026, 10, 26);
const RETENTION_SECONDS = 600;
const NONE_TRIED: ReadonlySet<string> = new Set();

const REQUEST = {
  key: "0".repeat(64),
  request: toStoredRequest(parseImageRequest({ prompt: "a" }, testConfig(), NOW_MS)),
  payer: { caller: "public", account: "network/local", token: undefined },
  store: true,
  keepSeconds: RETENTION_SECONDS,
  maxAgeSeconds: 1000,
};

const BLOCK = { code: "moderation_blocked", details: undefined } as const;
const RECORD = {
  version: 1,
  id: "gen_a",
  created: NOW_MS / 1000,
  model: "gpt-image-2",
  resolved: {},
  usage: { input_tokens: 1, output_tokens: 1, total_tokens: 2 },
  images: [{ type: "png", bytes: 9 }],
} as const satisfies object;

function generation(changes: Partial<StoredGeneration> = {}): StoredGeneration {
  return { ...newGeneration("gen_a", REQUEST, { amount: 1000 }, NOW_MS / 1000), ...changes };
}

function completed(changes: Partial<StoredGeneration> = {}): StoredGeneration {
  const record = { ...RECORD, images: [...RECORD.images] };
  return generation({ state: "done", record, slots: [0], endedMs: NOW_MS, ...changes });
}

function failed(changes: Partial<StoredGeneration> = {}): StoredGeneration {
  return generation({ state: "failed", failure: BLOCK, endedMs: NOW_MS, ...changes });
}

describe("the next step of an alarm", () => {
  it("calls the upstream for a queued generation, once for each alarm", () => {
    const queued = generation();
    expect(nextStep([queued], NONE_TRIED, NOW_MS)).toEqual({
      kind: "dispatch",
      generation: queued,
    });
    const after = new Set([stepName("dispatch", failed({ id: "gen_b" }))]);
    expect(nextStep([queued], after, NOW_MS)).toEqual({ kind: "stop" });
  });

  it("settles every ended generation before it copies the current one to KV", () => {
    const before = failed({ id: "gen_b" });
    const current = completed();
    const tried = new Set<string>();
    const steps: Step[] = [];
    for (let count = 0; count < 3; count += 1) {
      const step = nextStep([before, current], tried, NOW_MS);
      steps.push(step);
      if ("generation" in step) tried.add(stepName(step.kind, step.generation));
    }
    expect(steps).toEqual([
      { kind: "settle", generation: before },
      { kind: "settle", generation: current },
      { kind: "copy", generation: current },
    ]);
  });

  it("waits twice as long after each failed attempt", () => {
    const waits = [1, 2, 3, 4].map((attempts) => {
      const current = completed({ attempts });
      const tried = new Set([stepName("settle", current), stepName("copy", current)]);
      const step = nextStep([current], tried, NOW_MS);
      return step.kind === "sleep" ? step.untilMs - NOW_MS : undefined;
    });
    expect(waits).toEqual([1000, 2000, 4000, 8000]);
  });

  it("waits until the retention ends, counted from the copy to KV, then deletes everything", () => {
    const copiedMs = NOW_MS + 5000;
    const current = completed({ settled: true, copied: true, copiedMs });
    const expiresMs = copiedMs + RETENTION_SECONDS * 1000;
    expect(nextStep([current], NONE_TRIED, NOW_MS)).toEqual({ kind: "sleep", untilMs: expiresMs });
    expect(nextStep([current], NONE_TRIED, expiresMs - 1)).toMatchObject({ kind: "sleep" });
    expect(nextStep([current], NONE_TRIED, expiresMs)).toEqual({ kind: "delete" });
  });

  it("deletes at once if the object stores no generation", () => {
    expect(nextStep([], NONE_TRIED, NOW_MS)).toEqual({ kind: "delete" });
  });

  it("ends the attempts to settle and to copy, whatever fails", () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.boolean()), fc.boolean(), (successes, store) => {
        let current = completed({ copied: !store });
        let nowMs = NOW_MS;
        for (let alarms = 0; alarms < 100; alarms += 1) {
          const tried = new Set<string>();
          for (;;) {
            const step = nextStep([current], tried, nowMs);
            if (step.kind === "delete") return;
            if (step.kind === "sleep") {
              expect(step.untilMs).toBeGreaterThan(nowMs);
              nowMs = step.untilMs;
              break;
            }
            expect(["settle", "copy"]).toContain(step.kind);
            tried.add(stepName(step.kind, current));
            current = attempted(step.kind, successes.next().value === true);
          }
        }
        expect.fail("the object never deletes the generation");

        function attempted(kind: Step["kind"], succeeds: boolean): StoredGeneration {
          if (kind === "settle") {
            const changes = succeeds ? { settled: true } : afterFailure("settle", current, nowMs);
            return { ...current, ...changes };
          }
          const copied = { copied: true, copiedMs: nowMs };
          return { ...current, ...(succeeds ? copied : afterFailure("copy", current, nowMs)) };
        }
      }),
    );
  });
});

describe("a generation whose upstream call was in flight", () => {
  it("is orphaned unless this instance makes the call", () => {
    const dispatched = generation({ state: "dispatched" });
    expect(isOrphaned(dispatched, undefined)).toBe(true);
    expect(isOrphaned(dispatched, "gen_b")).toBe(true);
    expect(isOrphaned(dispatched, "gen_a")).toBe(false);
  });

  it("is not orphaned in any other state", () => {
    for (const other of [undefined, generation(), completed(), failed()]) {
      expect(isOrphaned(other, undefined)).toBe(false);
    }
  });
});

describe("a request", () => {
  it("joins a generation in progress, whatever age it accepts", () => {
    expect(isJoinable(generation({ state: "dispatched" }), -1, RECORD.created)).toBe(true);
  });

  it("joins a completed generation that is not older than it accepts", () => {
    expect(isJoinable(completed(), 10, RECORD.created + 10)).toBe(true);
    expect(isJoinable(completed(), 10, RECORD.created + 11)).toBe(false);
  });
});

describe("the recent moderation block", () => {
  it("is the newest block of the last minute", () => {
    const [older, newer] = [failed({ id: "gen_b" }), failed({ id: "gen_c" })];
    const other = failed({ id: "gen_d", failure: { code: "upstream_outcome_unknown" } });
    const recentBlock = (nowMs: number) =>
      recentModerationBlock([older, newer, other], undefined, nowMs);
    expect(recentBlock(NOW_MS + 60_000)).toBe(newer);
    expect(recentBlock(NOW_MS + 60_001)).toBeUndefined();
  });

  it("is the block of the same sender, or of a request without one", () => {
    const blockOf = (id: string, identity?: string) => {
      const block = { code: "moderation_blocked", details: undefined } as const;
      return failed({ id, failure: identity === undefined ? block : { ...block, identity } });
    };
    const [general, ofAnn] = [blockOf("gen_b"), blockOf("gen_c", "ann")];
    const recentBlock = (identity?: string) =>
      recentModerationBlock([general, ofAnn], identity, NOW_MS);
    expect(recentBlock("ann")).toBe(ofAnn);
    expect(recentBlock("bob")).toBe(general);
    expect(recentBlock()).toBe(general);
    expect(recentModerationBlock([ofAnn], "bob", NOW_MS)).toBeUndefined();
  });
});

describe("the progress of a generation", () => {
  it("is in progress while the upstream call is in flight", () => {
    expect(progressOf(generation({ state: "dispatched" }), [])).toEqual({
      id: "gen_a",
      created: RECORD.created,
      state: "in_progress",
      partials: [],
    });
  });

  it("has the record once it has completed, and the failure once it has failed", () => {
    expect(progressOf(completed(), []).record).toEqual(RECORD);
    expect(progressOf(failed(), []).failure).toEqual(BLOCK);
  });
});
