import { reset } from "cloudflare:test";
import { afterEach, beforeEach, vi } from "vitest";

/** The lines that the current test has logged. */
export interface LogLines {
  info: string[];
  /** Recorded only in files that expect errors. */
  errors: string[];
  /** Returns both. */
  all(): string[];
}

/**
 * Records the log during a file's tests instead of printing it. Resets storage and mocks after each.
 *
 * @param options.expectsErrors true if errors are recorded too; otherwise they are printed
 */
export function quietAndFresh({ expectsErrors = false } = {}): LogLines {
  const lines: LogLines = {
    info: [],
    errors: [],
    all: () => [...lines.info, ...lines.errors],
  };
  const recordIn = (list: string[]) => (line: string) => void list.push(line);
  beforeEach(() => {
    lines.info.length = 0;
    lines.errors.length = 0;
    vi.spyOn(console, "log").mockImplementation(recordIn(lines.info));
    if (expectsErrors) vi.spyOn(console, "error").mockImplementation(recordIn(lines.errors));
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await reset();
  });
  return lines;
}
