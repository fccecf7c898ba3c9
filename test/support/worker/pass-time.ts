import { listDurableObjectIds, runInDurableObject } from "cloudflare:test";
import { vi } from "vitest";
import { bindings } from "./harness.ts";

const platformNow = Date.now;

/**
 * Sets the clock ahead for the Worker, its objects and the caches of KV's locations.
 * `vi.restoreAllMocks()` restores it.
 */
export function setClockAhead(seconds: number): void {
  const offsetMs = Date.now() - platformNow() + seconds * 1000;
  vi.spyOn(Date, "now").mockImplementation(() => platformNow() + offsetMs);
}

const DAY_SECONDS = 24 * 60 * 60;

/** Sets the clock ahead to the next noon, UTC, so that a test that passes hours stays within one day. */
export function setClockToNoon(): void {
  const seconds = Math.floor(Date.now() / 1000) % DAY_SECONDS;
  setClockAhead((DAY_SECONDS * 1.5 - seconds) % DAY_SECONDS);
}

/**
 * Stops the clock at the next noon, UTC. `vi.restoreAllMocks()` restores it.
 *
 * @returns a function that sets it ahead
 */
export function freezeClockAtNoon(): (seconds: number) => void {
  setClockToNoon();
  let nowMs = Date.now();
  vi.spyOn(Date, "now").mockImplementation(() => nowMs);
  return (seconds) => {
    nowMs += seconds * 1000;
  };
}

/** Sets the clock ahead, then runs the alarm of each Generation object once. */
export async function passTime(seconds: number): Promise<void> {
  setClockAhead(seconds);
  const objects = bindings().GENERATION;
  for (const id of await listDurableObjectIds(objects)) {
    await runInDurableObject(objects.get(id), (instance) => instance.alarm());
  }
}

/**
 * Ends each wait of `scheduler.wait` at once, and sets the clock ahead by it. `vi.restoreAllMocks()` restores
 * both.
 *
 * @returns the waits so far, in milliseconds
 */
export function skipWaits(): number[] {
  const waits: number[] = [];
  vi.spyOn(scheduler, "wait").mockImplementation((ms) => {
    waits.push(ms);
    setClockAhead(ms / 1000);
    return Promise.resolve();
  });
  return waits;
}
