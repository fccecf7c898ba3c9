import { describe, expect, it } from "vitest";
import { countCodePoints, truncated } from "../../../src/lib/text.ts";

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

describe("a truncated text", () => {
  it.each([
    ["abc", 3, "abc"],
    ["abcd", 3, "abc"],
    ["a🦊", 3, "a🦊"],
    ["ab🦊", 3, "ab"],
    ["🦊🦊", 3, "🦊"],
  ])("of %j is cut between code points at length %i", (text, maxLength, expected) => {
    expect(truncated(text, maxLength)).toBe(expected);
  });
});
