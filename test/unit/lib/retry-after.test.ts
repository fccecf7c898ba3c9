import { describe, expect, it } from "vitest";
import { retryAfterSeconds } from "../../../src/lib/retry-after.ts";

describe("retryAfterSeconds", () => {
  const now = Date.parse("2026-11-25T12:00:00Z");

  it.each([
    ["7", 7],
    [" 7 ", 7],
    ["0", 0],
    ["Wed, 25 Nov 2026 12:00:30 GMT", 30],
    ["Wed, 25 Nov 2026 11:00:00 GMT", 0],
    ["999999999999", 86_400],
    ["Wed, 25 Nov 2099 12:00:30 GMT", 86_400],
    ["soon", undefined],
    ["soon GMT", undefined],
    ["-5", undefined],
    ["1.5", undefined],
    ["", undefined],
    [null, undefined],
  ])("parses %j as %s seconds", (header, seconds) => {
    expect(retryAfterSeconds(header, now)).toBe(seconds);
  });
});
