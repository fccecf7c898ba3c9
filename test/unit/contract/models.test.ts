import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KNOWN_MODELS, knownModel } from "../../../src/contract/models.ts";
import { sizeProblem } from "../../../src/contract/sizes.ts";

const GPT_IMAGE_1_SIZES = ["1024x1024", "1536x1024", "1024x1536", "auto"];
const LISTED_SIZES = {
  "gpt-image-1": GPT_IMAGE_1_SIZES,
  "gpt-image-1-mini": GPT_IMAGE_1_SIZES,
  "gpt-image-1.5": GPT_IMAGE_1_SIZES,
  "chatgpt-image-latest": GPT_IMAGE_1_SIZES,
  "dall-e-2": ["256x256", "512x512", "1024x1024"],
  "dall-e-3": ["1024x1024", "1792x1024", "1024x1792"],
};
const FREE_SIZE_MODELS = [
  "gpt-image-2",
  "gpt-image-2.5-sunburst",
  "gpt-image-2.5-flare",
  "gpt-image-2.6-sunburst",
  "gpt-image-2.6-flare",
];

function problem(model: string, size: string): string | undefined {
  const known = knownModel(model);
  return known === undefined
    ? expect.fail(`unknown: ${model}`)
    : sizeProblem(size, known.rules.sizes);
}

describe("sizeProblem for a model with listed sizes", () => {
  const every = [...new Set(Object.values(LISTED_SIZES).flat())];
  for (const [model, sizes] of Object.entries(LISTED_SIZES)) {
    it.each(every)(`accepts %s for ${model} only if it is listed`, (size) => {
      expect(problem(model, size) === undefined).toBe(sizes.includes(size));
    });

    it.each(["1024X1024", "1024x1024 ", "1024", "x", "1024x", "-1024x1024", ""])(
      `rejects the malformed size %j for ${model}`,
      (size) => {
        expect(problem(model, size)).toContain("must be one of");
      },
    );
  }
});

describe("sizeProblem for a model with free sizes", () => {
  it.each(FREE_SIZE_MODELS)("accepts auto for %s", (model) => {
    expect(problem(model, "auto")).toBeUndefined();
  });

  it.each([
    ["the smallest area", "1024x640"],
    ["the largest area", "3840x2160"],
    ["the longest edge", "3840x1280"],
    ["the widest ratio", "1536x512"],
    ["the tallest ratio", "512x1536"],
  ])("accepts %s: %s", (_, size) => {
    expect(problem("gpt-image-2", size)).toBeUndefined();
  });

  it.each([
    ["an edge that is not a multiple of 16", "1000x1024", "multiples of 16"],
    ["an edge that is too long", "3856x2048", "longer than 3840"],
    ["a ratio beyond 3:1", "1552x512", "3 times"],
    ["one step too few pixels", "1008x640", "at least 655360"],
    ["one step too many pixels", "3840x2176", "at most 8294400"],
    ["zero", "0x1024", "WIDTHxHEIGHT"],
    ["leading zeros", "01024x1024", "WIDTHxHEIGHT"],
    ["exponents", "1e3x1024", "WIDTHxHEIGHT"],
    ["decimals", "1024.0x1024", "WIDTHxHEIGHT"],
    ["a word", "wide", "WIDTHxHEIGHT"],
    ["an edge of 20 digits", "99999999999999999999x16", "WIDTHxHEIGHT"],
  ])("rejects %s: %s", (_, size, reason) => {
    expect(problem("gpt-image-2", size)).toContain(reason);
  });

  it("accepts a width and height exactly if the documented rules allow them", () => {
    const edge = fc.oneof(
      fc.integer({ min: 1, max: 5000 }),
      fc.integer({ min: 1, max: 300 }).map((sixteenths) => sixteenths * 16),
    );
    fc.assert(
      fc.property(edge, edge, fc.constantFrom(...FREE_SIZE_MODELS), (width, height, model) => {
        const [long, short] = [Math.max(width, height), Math.min(width, height)];
        const isAllowed =
          width % 16 === 0 &&
          height % 16 === 0 &&
          long <= 3840 &&
          long / short <= 3 &&
          width * height >= 655_360 &&
          width * height <= 8_294_400;
        expect(problem(model, `${width}x${height}`) === undefined).toBe(isAllowed);
      }),
      { numRuns: 3000 },
    );
  });

  it("decides the same if width and height are swapped", () => {
    const edge = fc.integer({ min: 1, max: 300 }).map((sixteenths) => sixteenths * 16);
    fc.assert(
      fc.property(edge, edge, (a, b) => {
        const isAllowed = problem("gpt-image-2", `${a}x${b}`) === undefined;
        expect(problem("gpt-image-2", `${b}x${a}`) === undefined).toBe(isAllowed);
      }),
    );
  });
});

describe("KNOWN_MODELS", () => {
  it("lists exactly the documented model ids", () => {
    const ids = KNOWN_MODELS.map((model) => model.id);
    expect(ids.toSorted()).toEqual([...Object.keys(LISTED_SIZES), ...FREE_SIZE_MODELS].toSorted());
  });

  it("resolves a dated snapshot to its model, and no other suffix", () => {
    expect(knownModel("gpt-image-2-2026-04-21")).toBe(knownModel("gpt-image-2"));
    expect(knownModel("gpt-image-2-2026-4-21")).toBeUndefined();
    expect(knownModel("gpt-image-2-latest")).toBeUndefined();
  });

  it("allows the default size of every model, and lists each quality once", () => {
    for (const { rules } of KNOWN_MODELS) {
      expect(sizeProblem(rules.defaultSize, rules.sizes)).toBeUndefined();
      expect(new Set(rules.qualities).size).toBe(rules.qualities.length);
    }
  });
});
