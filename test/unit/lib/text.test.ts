import { describe, expect, it } from "vitest";
import { countCodePoints } from "../../../src/lib/text.ts";

describe("the number of code points", () => {
  it.each([
    ["", 0],
    ["abc", 3],
    ["é", 1],
    ["🦊", 1],
    ["👨‍👩‍👧", 5],
    ["\ud83e", 1],
  ])("is for %j: %i", (text, count) => {
    expect(countCodePoints(text)).toBe(count);
  });
});
