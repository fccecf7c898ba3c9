import { describe, expect, it } from "vitest";
import { GENERATION_ID, newGenerationId, objectIdOf } from "../../../src/generation/id.ts";

const OBJECT_ID = "0123456789abcdef".repeat(4);

describe("a generation's id", () => {
  it("leads back to its object", () => {
    expect(objectIdOf(newGenerationId(OBJECT_ID))).toBe(OBJECT_ID);
  });

  it("is new each time", () => {
    const ids = Array.from({ length: 100 }, () => newGenerationId(OBJECT_ID));
    expect(new Set(ids).size).toBe(100);
    for (const id of ids) expect(id).toMatch(GENERATION_ID);
  });

  it.each([
    "",
    "gen_",
    "gen_x",
    `gen_${"!".repeat(59)}`,
    "req_".padEnd(63, "a"),
    "gen_".padEnd(64, "a"),
  ])("is none of %j", (id) => {
    expect(objectIdOf(id)).toBeUndefined();
  });
});
