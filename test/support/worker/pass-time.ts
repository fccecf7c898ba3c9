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

/** Sets the clock ahead, then runs the alarm of each Generation object once. */
export async function passTime(seconds: number): Promise<void> {
  setClockAhead(seconds);
  const objects = bindings().GENERATION;
  for (const id of await listDurableObjectIds(objects)) {
    await runInDurableObject(objects.get(id), (instance) => instance.alarm());
  }
}
