import { describe, expect, it } from "vitest";
import { parsePrefer } from "../../../src/lib/prefer.ts";

describe("parsePrefer", () => {
  const none = { respondAsync: false, waitSeconds: undefined };

  it.each([
    [undefined, {}],
    ["", {}],
    ["respond-async", { respondAsync: true }],
    ["Respond-Async, wait=10", { respondAsync: true, waitSeconds: 10 }],
    ['wait="5"', { waitSeconds: 5 }],
    ["wait=0", { waitSeconds: 0 }],
    ["respond-async; wait=3", { respondAsync: true, waitSeconds: 3 }],
    ["wait", {}],
    ["wait=-1", {}],
    ["wait=soon", {}],
    ["return=minimal, handling=lenient", {}],
  ])("parses %j", (header, expected) => {
    expect(parsePrefer(header)).toEqual({ ...none, ...expected });
  });
});
