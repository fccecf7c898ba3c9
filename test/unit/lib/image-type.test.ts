import { describe, expect, it } from "vitest";
import { imageTypeOf } from "../../../src/lib/image-type.ts";

const SVG = '<svg xmlns="http://www.w3.org/2000/svg"/>';

describe("imageTypeOf", () => {
  it.each([
    ["png", "89504e470d0a1a0a0000000d"],
    ["jpeg", "ffd8ffe000104a4649460001"],
    ["webp", "52494646d007000057454250"],
    ["gif", "474946383961010001000000"],
    ["gif", "474946383761010001000000"],
    // ftyp boxes: the major brand avif; the major brand mif1 with avif among the compatible ones.
    ["avif", "0000001c66747970617669660000000061766966"],
    ["avif", "0000001c667479706d696631000000006d69663161766966"],
    ["avif", "00000014667479706176697300000000"],
    [undefined, "0000001466747970686569630000000068656963"],
    // The bytes of avif as the minor version of heic.
    [undefined, "00000018667479706865696361766966686569636d696631"],
    // The brand avif after the end of the box.
    [undefined, "00000010667479706d6966310000000061766966"],
    [undefined, "474946383861010001000000"],
    [undefined, "52494646d007000041564920"],
    [undefined, "89504e470d0a1a"],
    [undefined, ""],
    [undefined, "3c21646f63747970652068746d6c"],
  ])("returns %s for the bytes %s", (type, hex) => {
    expect(imageTypeOf(Uint8Array.fromHex(hex))).toBe(type);
    expect(imageTypeOf(Uint8Array.fromHex(hex), true)).toBe(type);
  });

  it.each([
    SVG,
    `\uFEFF${SVG}`,
    `<?xml version="1.0"?>\n<!-- drawn -->\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "a.dtd">\n${SVG}`,
    `  <svg>`,
    `<svg\nwidth="1">`,
  ])("returns svg for %j only if SVG is accepted", (text) => {
    const bytes = new TextEncoder().encode(text);
    expect(imageTypeOf(bytes, true)).toBe("svg");
    expect(imageTypeOf(bytes)).toBeUndefined();
  });

  it.each([
    "<html><svg></svg></html>",
    "<svgx/>",
    "<!-- open",
    "svg",
    `<script>${SVG}</script>`,
    "<!doctype html>",
  ])("returns undefined for %j", (text) => {
    expect(imageTypeOf(new TextEncoder().encode(text), true)).toBeUndefined();
  });
});
