import { describe, expect, it } from "vitest";
import { newId } from "../../../src/lib/id.ts";

describe("newId", () => {
  it("returns the prefix with 32 hexadecimal digits that differ each time", () => {
    expect(newId("req")).toMatch(/^req_[0-9a-f]{32}$/);
    expect(newId("req")).not.toBe(newId("req"));
  });
});
