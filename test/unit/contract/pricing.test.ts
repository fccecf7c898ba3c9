import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KNOWN_MODELS } from "../../../src/contract/models.ts";
import { costOf, pricesSchema, type Prices } from "../../../src/contract/pricing.ts";
import { NO_USAGE } from "../../../src/contract/record.ts";
import { parseImageRequest } from "../../../src/contract/request.ts";
import { testConfig } from "../../support/unit-config.ts";

const NONE: Prices = new Map();

/** Upper bound of the text tokens of the prompt "x": one for its byte and 100 of overhead. */
const TEXT = 101;

function cost(body: Record<string, unknown>, prices = NONE, config = testConfig()) {
  const { spec, upstream } = parseImageRequest({ prompt: "x", ...body }, config, Date.now());
  return costOf(spec, upstream.partialImages, prices);
}

function upperBound(body: Record<string, unknown>, prices = NONE) {
  return cost(body, prices).upperBound();
}

describe("the upper bound of the cost", () => {
  it.each([
    ["gpt-image-1", "1024x1024", "low", 272, 5, 40],
    ["gpt-image-1", "1024x1536", "high", 6240, 5, 40],
    ["gpt-image-1-mini", "1536x1024", "medium", 1568, 2, 8],
    ["gpt-image-1.5", "1024x1024", "high", 4160, 5, 32],
    // `auto` may resolve to the most expensive value.
    ["gpt-image-1.5", "1024x1024", "auto", 4160, 5, 32],
    ["gpt-image-1.5", "auto", "auto", 6240, 5, 32],
  ])("prices %s, %s, %s at %i output tokens", (model, size, quality, tokens, textIn, imageOut) => {
    expect(upperBound({ model, size, quality })).toBe(TEXT * textIn + tokens * imageOut);
  });

  it.each([
    ["gpt-image-2", "1024x1024", "low", 16, 16],
    ["gpt-image-2", "1536x1024", "medium", 48, 32],
    ["gpt-image-2", "1024x1024", "auto", 96, 96],
    ["gpt-image-2.5-flare", "1024x1024", "medium", 24, 24],
    ["gpt-image-2.5-flare", "3840x2160", "high", 48, 27],
    ["gpt-image-2.5-flare", "1024x1024", "xhigh", 64, 64],
    ["gpt-image-2.6-sunburst", "1024x1024", "high", 48, 48],
    ["gpt-image-2.6-sunburst", "1024x1024", "auto", 96, 96],
    ["gpt-image-2.6-sunburst", "1024x1024", "max", 96, 96],
  ])("prices %s, %s, %s at %i by %i patches", (model, size, quality, long, short) => {
    const [width = 0, height = 0] = size.split("x").map(Number);
    const tokens = Math.ceil((long * short * (2_000_000 + width * height)) / 4_000_000);
    expect(upperBound({ model, size, quality })).toBe(TEXT * 5 + tokens * 30);
  });

  it.each([
    ["low", 16, 11],
    ["medium", 24, 16],
  ])(
    "prices gpt-image-2.6 at quality %s at 4.5 times the patch formula",
    (quality, long, short) => {
      const formula = Math.ceil((long * short * (2_000_000 + 1536 * 1024)) / 4_000_000);
      const tokens = Math.ceil(formula * 4.5);
      const body = { model: "gpt-image-2.6-flare", size: "1536x1024", quality };
      expect(upperBound(body)).toBe(TEXT * 5 + tokens * 30);
    },
  );

  it.each([
    ["dall-e-2", "256x256", "standard", 16_000],
    ["dall-e-2", "1024x1024", "standard", 20_000],
    ["dall-e-3", "1024x1024", "standard", 40_000],
    ["dall-e-3", "1792x1024", "hd", 120_000],
  ])(
    "prices %s, %s, %s at its price per image of %i micro-dollars",
    (model, size, quality, microDollars) => {
      expect(upperBound({ model, size, quality })).toBe(microDollars);
    },
  );

  it("prices an unknown model at the most patches", () => {
    const vars = { MODELS: "gpt-image-9", DEFAULT_MODEL: "gpt-image-9" };
    const unknown = cost({ size: "1024x1024", quality: "high" }, NONE, testConfig(vars));
    const perToken = 40;
    const tokens = Math.ceil((96 * 96 * (2_000_000 + 1024 * 1024)) / 4_000_000);
    expect(unknown.upperBound()).toBe(TEXT * 5 + tokens * perToken);
  });

  it("counts every image, every partial image and every byte of the prompt", () => {
    const body = { model: "gpt-image-1.5", size: "1024x1024", quality: "low" };
    expect(upperBound({ ...body, n: 4 })).toBe(TEXT * 5 + 4 * 272 * 32);
    expect(upperBound({ ...body, stream: true, partial_images: 3 })).toBe(
      TEXT * 5 + (272 + 3 * 100) * 32,
    );
    expect(upperBound({ ...body, prompt: "🦊" })).toBe((TEXT + 3) * 5 + 272 * 32);
  });

  it("covers for size auto every size with at most the pixels of 1536x1024", () => {
    const auto = upperBound({ model: "gpt-image-2" });
    fc.assert(
      fc.property(fc.integer({ min: 40, max: 130 }), fc.integer({ min: 40, max: 130 }), (a, b) => {
        const [width, height] = [a * 16, b * 16];
        const pixels = width * height;
        fc.pre(pixels >= 655_360 && pixels <= 1536 * 1024);
        fc.pre(Math.max(a, b) <= 3 * Math.min(a, b));
        expect(
          upperBound({ model: "gpt-image-2", size: `${width}x${height}` }),
        ).toBeLessThanOrEqual(auto);
      }),
    );
  });

  it.each(KNOWN_MODELS.map((model) => [model.id]))("is above zero for %s", (model) => {
    expect(upperBound({ model })).toBeGreaterThan(0);
  });
});

describe("the actual cost", () => {
  const { upperBound: bound, actual } = cost({ model: "gpt-image-1.5" });

  it("prices each kind of token that the upstream reports", () => {
    const usage = {
      input_tokens: 110,
      output_tokens: 1000,
      total_tokens: 1110,
      input_tokens_details: { image_tokens: 100, text_tokens: 10 },
    };
    expect(actual(usage, 1)).toBe(10 * 5 + 100 * 8 + 1000 * 32);
  });

  it("equals the upper bound if the upstream reports no usage", () => {
    expect(actual(NO_USAGE, 1)).toBe(bound());
  });

  it("prices only the generated images of a model with a price per image", () => {
    const { actual: actualCost } = cost({ model: "dall-e-2", n: 3 });
    expect(actualCost(NO_USAGE, 2)).toBe(2 * 20_000);
  });
});

describe("PRICES", () => {
  it("overrides the built-in prices, also for a dated snapshot", () => {
    const prices = pricesSchema.parse({ "gpt-image-2": { per_image: 0.01 } });
    expect(upperBound({ model: "gpt-image-2", n: 2 }, prices)).toBe(20_000);
    expect(upperBound({ model: "gpt-image-2-2026-04-21" }, prices)).toBe(10_000);
  });

  it.each([[{ m: { per_image: -1 } }], [{ m: { text_in: 1 } }], [{ m: 3 }], [[]]])(
    "rejects the invalid value %j",
    (prices) => {
      expect(pricesSchema.safeParse(prices).success).toBe(false);
    },
  );
});
