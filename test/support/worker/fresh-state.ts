import { reset } from "cloudflare:test";
import { afterEach, beforeEach, vi } from "vitest";

/** Keeps the log of a file's tests to itself, and begins each with nothing stored and nothing replaced. */
export function quietAndFresh(): void {
  beforeEach(() => {
    vi.spyOn(console, "log").mockImplementation(() => undefined);
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await reset();
  });
}
