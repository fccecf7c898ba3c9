import { describe, expect, it } from "vitest";
import { newId } from "../../../src/lib/id.ts";

describe("an id", () => {
  it("is its prefix and 32 hexadecimal digits, another one each time", () => {
    expect(newId("req")).toMatch(/^req_[0-9a-f]{32}$/);
    expect(newId("req")).not.toBe(newId("req"));
  });
});
