import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KNOWN_MODELS, knownModel, sizeProblem } from "../../../src/contract/models.ts";

const SQUARE_AND_TURNED = ["1024x1024", "1536x1024", "1024x1536", "auto"];
const FAMILIES = {
  "gpt-image-1": SQUARE_AND_TURNED,
  "gpt-image-1-mini": SQUARE_AND_TURNED,
  "gpt-image-1.5": SQUARE_AND_TURNED,
  "chatgpt-image-latest": SQUARE_AND_TURNED,
  "dall-e-2": ["256x256", "512x512", "1024x1024"],
  "dall-e-3": ["1024x1024", "1792x1024", "1024x1792"],
};
const FREE = [
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

describe("the sizes of models with a list", () => {
  const every = [...new Set(Object.values(FAMILIES).flat())];
  for (const [model, sizes] of Object.entries(FAMILIES)) {
    it.each(every)(`${model} decides about %s`, (size) => {
      expect(problem(model, size) === undefined).toBe(sizes.includes(size));
    });

    it.each(["1024X1024", "1024x1024 ", "1024", "x", "1024x", "-1024x1024", ""])(
      `${model} refuses %j`,
      (size) => {
        expect(problem(model, size)).toContain("must be one of");
      },
    );
  }
});

describe("the sizes of models with free sizes", () => {
  it.each(FREE)("%s takes auto", (model) => {
    expect(problem(model, "auto")).toBeUndefined();
  });

  it.each([
    ["the smallest area", "1024x640"],
    ["the largest area", "3840x2160"],
    ["the longest edge", "3840x1280"],
    ["the steepest ratio", "1536x512"],
    ["the same upright", "512x1536"],
  ])("takes %s: %s", (_, size) => {
    expect(problem("gpt-image-2", size)).toBeUndefined();
  });

  it.each([
    ["an edge that is no multiple of 16", "1000x1024", "multiples of 16"],
    ["an edge that is too long", "3856x2048", "longer than 3840"],
    ["a ratio beyond 3:1", "1552x512", "3 times"],
    ["one step too few pixels", "1008x640", "at least 655360"],
    ["one step too many pixels", "3840x2176", "at most 8294400"],
    ["zero", "0x1024", "WIDTHxHEIGHT"],
    ["leading zeros", "01024x1024", "WIDTHxHEIGHT"],
    ["exponents", "1e3x1024", "WIDTHxHEIGHT"],
    ["decimals", "1024.0x1024", "WIDTHxHEIGHT"],
    ["no edge", "wide", "WIDTHxHEIGHT"],
    ["a number without bounds", "99999999999999999999x16", "WIDTHxHEIGHT"],
  ])("refuses %s: %s", (_, size, reason) => {
    expect(problem("gpt-image-2", size)).toContain(reason);
  });

  it("agrees with the contract's sentence for any width and height", () => {
    const edge = fc.oneof(
      fc.integer({ min: 1, max: 5000 }),
      fc.integer({ min: 1, max: 300 }).map((sixteenths) => sixteenths * 16),
    );
    fc.assert(
      fc.property(edge, edge, fc.constantFrom(...FREE), (width, height, model) => {
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

  it("treats width and height alike", () => {
    const edge = fc.integer({ min: 1, max: 300 }).map((sixteenths) => sixteenths * 16);
    fc.assert(
      fc.property(edge, edge, (a, b) => {
        const upright = problem("gpt-image-2", `${a}x${b}`) === undefined;
        expect(problem("gpt-image-2", `${b}x${a}`) === undefined).toBe(upright);
      }),
    );
  });
});

describe("the table", () => {
  it("knows every id of the contract", () => {
    const ids = KNOWN_MODELS.map((model) => model.id);
    expect(ids.toSorted()).toEqual([...Object.keys(FAMILIES), ...FREE].toSorted());
  });

  it("knows a dated snapshot by its model", () => {
    expect(knownModel("gpt-image-2-2026-04-21")).toBe(knownModel("gpt-image-2"));
    expect(knownModel("gpt-image-2-2026-4-21")).toBeUndefined();
    expect(knownModel("gpt-image-2-latest")).toBeUndefined();
  });

  it("has the default size of every model among its sizes, and each list's default once", () => {
    for (const { rules } of KNOWN_MODELS) {
      expect(sizeProblem(rules.defaultSize, rules.sizes)).toBeUndefined();
      expect(new Set(rules.qualities).size).toBe(rules.qualities.length);
    }
  });
});
