import { describe, expect, it } from "vitest";
import { imageTypeOf } from "../../../src/lib/image-type.ts";

describe("imageTypeOf", () => {
  it.each([
    ["png", "89504e470d0a1a0a0000000d"],
    ["jpeg", "ffd8ffe000104a4649460001"],
    ["webp", "52494646d007000057454250"],
    [undefined, "474946383961010001000000"],
    [undefined, "52494646d007000041564920"],
    [undefined, "89504e470d0a1a"],
    [undefined, ""],
    [undefined, "3c73766720786d6c6e733d22"],
    [undefined, "3c21646f63747970652068746d6c"],
  ])("returns %s for the bytes %s", (type, hex) => {
    expect(imageTypeOf(Uint8Array.fromHex(hex))).toBe(type);
  });
});
