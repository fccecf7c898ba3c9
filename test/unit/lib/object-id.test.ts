import { describe, expect, it } from "vitest";
import { idPattern, newIdInObject, objectIdOf } from "../../../src/lib/object-id.ts";

const OBJECT_ID = "0123456789abcdef".repeat(4);

describe("the id of what an object owns", () => {
  it("leads back to its object", () => {
    expect(objectIdOf("gen", newIdInObject("gen", OBJECT_ID))).toBe(OBJECT_ID);
  });

  it("is new each time", () => {
    const ids = Array.from({ length: 100 }, () => newIdInObject("gen", OBJECT_ID));
    expect(new Set(ids).size).toBe(100);
    for (const id of ids) expect(id).toMatch(idPattern("gen"));
  });

  it.each([
    "",
    "gen_",
    "gen_x",
    newIdInObject("job", OBJECT_ID),
    `gen_${"!".repeat(59)}`,
    "req_".padEnd(63, "a"),
    "gen_".padEnd(64, "a"),
  ])("is none of %j", (id) => {
    expect(objectIdOf("gen", id)).toBeUndefined();
  });
});
