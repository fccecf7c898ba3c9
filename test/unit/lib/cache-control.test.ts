import { describe, expect, it } from "vitest";
import { parseCacheControl } from "../../../src/lib/cache-control.ts";

describe("parseCacheControl", () => {
  const none = { noStore: false, noCache: false, onlyIfCached: false, maxAgeSeconds: undefined };

  it.each([
    [undefined, {}],
    ["", {}],
    ["no-store", { noStore: true }],
    ["No-Cache", { noCache: true }],
    ["only-if-cached, max-age=60", { onlyIfCached: true, maxAgeSeconds: 60 }],
    ['max-age="5"', { maxAgeSeconds: 5 }],
    ["max-age=0", { maxAgeSeconds: 0 }],
    [" no-store ,no-cache", { noStore: true, noCache: true }],
    ["max-age", {}],
    ["max-age=-1", {}],
    ["max-age=1.5", {}],
    ["max-stale=5, foo=bar, no-storehouse", {}],
  ])("parses %j", (header, expected) => {
    expect(parseCacheControl(header)).toEqual({ ...none, ...expected });
  });
});
