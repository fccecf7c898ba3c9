import { describe, expect, it } from "vitest";
import { idPattern, newIdInObject, objectIdOf } from "../../../src/lib/object-id.ts";

const OBJECT_ID = "0123456789abcdef".repeat(4);

describe("an id in a Durable Object", () => {
  it("encodes the Durable Object's own id", () => {
    expect(objectIdOf("gen", newIdInObject("gen", OBJECT_ID))).toBe(OBJECT_ID);
  });

  it("differs each time", () => {
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
  ])("is not parsed from %j", (id) => {
    expect(objectIdOf("gen", id)).toBeUndefined();
  });
});
