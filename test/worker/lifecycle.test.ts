import { env } from "cloudflare:test";
import fc from "fast-check";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { failAccounts } from "../support/worker/failing-accounts.ts";
import { passKvTime } from "../support/worker/edge-kv.ts";
import { holdAlarms } from "../support/worker/held-alarms.ts";
import { holdLimits } from "../support/worker/held-limits.ts";
import { quietAndFresh } from "../support/worker/fresh-state.ts";
import {
  alarm,
  crash,
  drain,
  loseAlarm,
  poll,
  post,
  RealLifecycle,
  remove,
  removeDuringCopy,
  time,
  trouble,
  upstream,
  type Fault,
} from "../support/worker/lifecycle-events.ts";
import type { Ending, Trouble } from "../support/worker/lifecycle-model.ts";

const RUNS = Number((env as unknown as { LIFECYCLE_RUNS: string }).LIFECYCLE_RUNS);
/** The longest time for running schedules and shortening a failing one. */
const MAX_MS = 120_000;

quietAndFresh({ expectsErrors: true });

beforeEach(() => {
  // Each run sets the clock itself. A pause lets KV's one second between two writes to a key pass.
  vi.spyOn(scheduler, "wait").mockImplementation(async (ms) => passKvTime(ms / 1000));
  holdLimits();
  holdAlarms(true);
});
afterEach(() => {
  holdAlarms(false);
  failAccounts(false);
});

it(
  "follows the state machine on every schedule of requests, alarms, crashes and faults",
  { timeout: 300_000 },
  async () => {
    const generationIndex = fc.nat({ max: 3 });
    const events = fc.commands(
      [
        fc.constant(post()),
        fc.constant(post()),
        fc.constant(alarm()),
        fc.constant(alarm()),
        fc.constantFrom<Ending>("image", "image", "rejected", "blocked", "cut").map(upstream),
        fc.constant(crash()),
        fc.constant(loseAlarm()),
        fc.constantFrom(0, 1, 2).map(removeDuringCopy),
        generationIndex.map(poll),
        generationIndex.map(remove),
        fc.constantFrom(30, 61, 601).map(time),
        fc
          .tuple(
            fc.constantFrom<Trouble>("kvReads", "kvWrites", "accounts"),
            fc.constantFrom<Fault>("fails", "hangs", undefined, undefined),
          )
          .map(([of, fault]) => trouble(of, fault)),
      ],
      { maxCommands: 40, size: "max" },
    );
    await fc.assert(
      fc.asyncProperty(events, async (commands) => {
        const real = new RealLifecycle();
        const model = await real.start();
        await fc.asyncModelRun(() => ({ model, real }), commands);
        await drain(model, real);
        expect(model.open().toSorted()).toEqual([...model.leaks.keys()].toSorted());
        for (const [index] of model.ids.entries()) await poll(index).run(model, real);
      }),
      { numRuns: RUNS, interruptAfterTimeLimit: MAX_MS },
    );
  },
);
