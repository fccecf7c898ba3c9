import { reset } from "cloudflare:test";
import { afterEach, beforeEach, vi } from "vitest";

/** Silences the log during a file's tests. Resets storage and mocks after each. */
export function quietAndFresh(): void {
  beforeEach(() => {
    vi.spyOn(console, "log").mockImplementation(() => undefined);
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await reset();
  });
}
