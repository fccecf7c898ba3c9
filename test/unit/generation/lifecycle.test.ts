import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  afterFailedRelease,
  afterFailure,
  afterPurge,
  isJoinable,
  isOrphaned,
  newGeneration,
  newTombstone,
  nextStep,
  recentModerationBlock,
  replaces,
  stepName,
  type ObjectState,
  type Step,
} from "../../../src/generation/lifecycle.ts";
import { progressOf } from "../../../src/generation/start-response.ts";
import type { Tombstone } from "../../../src/generation/notes.ts";
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
  return { ...newGeneration("gen_a", REQUEST, 1000, NOW_MS / 1000), ...changes };
}

function completed(changes: Partial<StoredGeneration> = {}): StoredGeneration {
  const record = { ...RECORD, images: [...RECORD.images] };
  return generation({ state: "done", record, slots: [0], endedMs: NOW_MS, ...changes });
}

function failed(changes: Partial<StoredGeneration> = {}): StoredGeneration {
  return generation({ state: "failed", failure: BLOCK, endedMs: NOW_MS, ...changes });
}

/** What an object stores; nothing but what the test names. */
function stored(changes: Partial<ObjectState> = {}): ObjectState {
  return { generations: [], reserving: [], tombstones: [], newest: undefined, ...changes };
}

describe("the next step of an alarm", () => {
  it("calls the upstream for a queued generation, once for each alarm", () => {
    const queued = generation();
    expect(nextStep(stored({ generations: [queued] }), NONE_TRIED, NOW_MS)).toEqual({
      kind: "dispatch",
      item: queued,
    });
    const after = new Set([stepName("dispatch", failed({ id: "gen_b" }))]);
    expect(nextStep(stored({ generations: [queued] }), after, NOW_MS)).toEqual({ kind: "stop" });
  });

  it("settles every ended generation before it copies the current one to KV", () => {
    const before = failed({ id: "gen_b" });
    const current = completed();
    const tried = new Set<string>();
    const steps: Step[] = [];
    for (let count = 0; count < 3; count += 1) {
      const step = nextStep(stored({ generations: [before, current] }), tried, NOW_MS);
      steps.push(step);
      if ("item" in step) tried.add(stepName(step.kind, step.item));
    }
    expect(steps).toEqual([
      { kind: "settle", item: before },
      { kind: "settle", item: current },
      { kind: "copy", item: current },
    ]);
  });

  it("waits twice as long after each failed attempt", () => {
    const waits = [1, 2, 3, 4].map((attempts) => {
      const current = completed({ attempts, copyAttempts: attempts });
      const tried = new Set([stepName("settle", current), stepName("copy", current)]);
      const step = nextStep(stored({ generations: [current] }), tried, NOW_MS);
      return step.kind === "sleep" ? step.untilMs - NOW_MS : undefined;
    });
    expect(waits).toEqual([1000, 2000, 4000, 8000]);
  });

  it("waits until the retention ends, counted from the copy to KV, then deletes everything", () => {
    const copiedMs = NOW_MS + 5000;
    const current = completed({ settled: true, copied: true, copiedMs });
    const expiresMs = copiedMs + RETENTION_SECONDS * 1000;
    expect(nextStep(stored({ generations: [current] }), NONE_TRIED, NOW_MS)).toEqual({
      kind: "sleep",
      untilMs: expiresMs,
    });
    expect(nextStep(stored({ generations: [current] }), NONE_TRIED, expiresMs - 1)).toMatchObject({
      kind: "sleep",
    });
    expect(nextStep(stored({ generations: [current] }), NONE_TRIED, expiresMs)).toEqual({
      kind: "delete",
    });
  });

  it("deletes at once if the object stores no generation", () => {
    expect(nextStep(stored(), NONE_TRIED, NOW_MS)).toEqual({ kind: "delete" });
  });

  it("ends the attempts to settle and to copy, whatever fails", () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.boolean()), fc.boolean(), (successes, store) => {
        let current = completed({ copied: !store });
        let nowMs = NOW_MS;
        for (let alarms = 0; alarms < 100; alarms += 1) {
          const tried = new Set<string>();
          for (;;) {
            const step = nextStep(stored({ generations: [current] }), tried, nowMs);
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

describe("an undecided start of an instance that died", () => {
  const reserving = { id: "gen_a", payer: REQUEST.payer, claim: undefined, attempts: 0 };

  it("is released before anything else", () => {
    const state = stored({ reserving: [reserving], generations: [failed({ id: "gen_b" })] });
    expect(nextStep(state, NONE_TRIED, NOW_MS)).toEqual({ kind: "release", item: reserving });
  });

  it("is released again after a failure, ten times at most", () => {
    let attempts = 1;
    for (let next = afterFailedRelease(reserving); next !== undefined; attempts += 1) {
      const tried = new Set([stepName("release", next)]);
      const step = nextStep(stored({ reserving: [next] }), tried, NOW_MS);
      expect(step).toEqual({ kind: "sleep", untilMs: NOW_MS + 1000 * 2 ** (attempts - 1) });
      next = afterFailedRelease(next);
    }
    expect(attempts).toBe(10);
  });
});

describe("a tombstone", () => {
  const newest = { id: "gen_b", created: RECORD.created, writtenMs: NOW_MS };
  const deleted = newTombstone(completed(), { ...RECORD, images: [...RECORD.images] }, NOW_MS);

  it("deletes in KV at once and ten minutes later, then the object deletes everything", () => {
    const tombstones = [deleted];
    expect(nextStep(stored({ tombstones }), NONE_TRIED, NOW_MS)).toEqual({
      kind: "purge",
      item: deleted,
    });
    const later = afterPurge(deleted, true, NOW_MS + 1);
    const laterMs = NOW_MS + 600_000;
    const waiting = stored({ tombstones: later === undefined ? [] : [later] });
    expect(nextStep(waiting, NONE_TRIED, NOW_MS + 1)).toEqual({ kind: "sleep", untilMs: laterMs });
    expect(nextStep(waiting, NONE_TRIED, laterMs)).toEqual({ kind: "purge", item: later });
    expect(later && afterPurge(later, true, laterMs)).toBeUndefined();
    expect(nextStep(stored(), NONE_TRIED, laterMs)).toEqual({ kind: "delete" });
  });

  it("ends, whatever fails", () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.boolean()), (successes) => {
        let tombstone: Tombstone | undefined = deleted;
        let nowMs = NOW_MS;
        for (let purges = 0; tombstone !== undefined; purges += 1) {
          expect(purges).toBeLessThan(30);
          nowMs = Math.max(nowMs, tombstone.dueMs);
          tombstone = afterPurge(tombstone, successes.next().value === true, nowMs);
        }
        expect(nowMs).toBeGreaterThanOrEqual(NOW_MS + 600_000);
      }),
    );
  });

  it("does not end the memory of the newest record", () => {
    const step = nextStep(stored({ newest }), NONE_TRIED, NOW_MS);
    expect(step).toEqual({ kind: "sleep", untilMs: NOW_MS + 600_000 });
  });
});

describe("a record", () => {
  it("replaces one that is not newer", () => {
    const at = (created: number) => ({ created });
    expect(replaces(at(2), at(1))).toBe(true);
    expect(replaces(at(1), at(1))).toBe(true);
    expect(replaces(at(1), at(2))).toBe(false);
    expect(replaces(at(0), undefined)).toBe(true);
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
    expect(
      isJoinable(generation({ state: "dispatched" }), { maxAgeSeconds: -1 }, RECORD.created),
    ).toBe(true);
  });

  it("joins a completed generation that is not older than it accepts", () => {
    const accepted = { maxAgeSeconds: 10 };
    expect(isJoinable(completed(), accepted, RECORD.created + 10)).toBe(true);
    expect(isJoinable(completed(), accepted, RECORD.created + 11)).toBe(false);
  });

  it("does not join a generation with fewer images than requested, unless it started it", () => {
    const job = { ...REQUEST, request: { ...REQUEST.request, n: 2 } };
    const accepted = { maxAgeSeconds: 10 };
    expect(isJoinable(completed({ job }), accepted, RECORD.created)).toBe(false);
    expect(isJoinable(completed({ job }), { ...accepted, isOwn: true }, RECORD.created)).toBe(true);
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
