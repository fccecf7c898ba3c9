import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KNOWN_MODELS } from "../../../src/contract/models.ts";
import { costOf, pricesSchema, type Prices } from "../../../src/contract/pricing.ts";
import { NO_USAGE } from "../../../src/contract/usage.ts";
import { parseImageRequest } from "../../../src/contract/request.ts";
import { reportedGeneration } from "../../support/reported-generation.ts";
import { DECEMBER_MS } from "../../support/upstream/shutdowns.ts";
import { testConfig } from "../../support/unit-config.ts";

const NONE: Prices = new Map();

/** Names that every object has. */
const OBJECT_NAMES = Object.getOwnPropertyNames(Object.prototype);

/** Upper bound of the text tokens of the prompt "x": one for its byte and 100 of overhead. */
const TEXT = 101;

/** Returns the tokens of an image with these patches and pixels. */
function patchTokens(long: number, short: number, pixels: number): number {
  return Math.ceil((long * short * (2_000_000 + pixels)) / 4_000_000);
}

function cost(body: Record<string, unknown>, prices = NONE, config = testConfig()) {
  const { spec, upstream } = parseImageRequest({ prompt: "x", ...body }, config, Date.now());
  return costOf(spec, upstream.partialImages, { ...config, prices });
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
    const tokens = patchTokens(long, short, width * height);
    expect(upperBound({ model, size, quality })).toBe(TEXT * 5 + tokens * 30);
  });

  it.each([
    ["low", 16, 11],
    ["medium", 24, 16],
  ])(
    "prices gpt-image-2.6 at quality %s at 4.5 times the patch formula",
    (quality, long, short) => {
      const formula = patchTokens(long, short, 1536 * 1024);
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

  it.each([
    ["low", patchTokens(16, 16, 1024 * 1024) * 4.5],
    ["high", patchTokens(96, 96, 1024 * 1024)],
  ])("prices an unknown model at the most expensive table for %s: %i", (quality, tokens) => {
    const vars = { MODELS: "gpt-image-9", DEFAULT_MODEL: "gpt-image-9" };
    const unknown = cost({ size: "1024x1024", quality }, NONE, testConfig(vars));
    expect(unknown.tokenBound()?.tokens).toBe(Math.ceil(tokens));
  });

  it.each(OBJECT_NAMES)(
    "counts the quality %s of an unknown model as the most expensive",
    (quality) => {
      const config = testConfig({ MODELS: "m", DEFAULT_MODEL: "m" });
      const ofAuto = cost({}, NONE, config).upperBound();
      expect(cost({ quality }, NONE, config).upperBound()).toBe(ofAuto);
    },
  );

  it("prices an unknown model at the most patches", () => {
    const vars = { MODELS: "gpt-image-9", DEFAULT_MODEL: "gpt-image-9" };
    const unknown = cost({ size: "1024x1024", quality: "high" }, NONE, testConfig(vars));
    const perToken = 40;
    const tokens = patchTokens(96, 96, 1024 * 1024);
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

  it("counts at least one patch for each edge of a very long image", () => {
    const config = testConfig({ MODELS: "m", DEFAULT_MODEL: "m" });
    const reserved = cost({ size: "64x8192", quality: "low" }, NONE, config).upperBound();
    const tokens = Math.ceil(patchTokens(16, 1, 64 * 8192) * 4.5);
    expect(reserved).toBe(TEXT * 5 + tokens * 40);
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

describe("the upper bound of a GIF", () => {
  const gif = { model: "gpt-image-2.6-flare", quality: "high", output_format: "gif" };
  const sheet = (width: number, height: number) =>
    patchTokens(
      48,
      Math.round((48 * Math.min(width, height)) / Math.max(width, height)),
      width * height,
    );

  it.each([
    [2, 512, 512, 2048, 1024],
    [8, 512, 512, 2048, 1024],
    [9, 512, 512, 1536, 1536],
    [12, 512, 512, 2048, 1536],
    [16, 512, 512, 2048, 2048],
  ])("with %s frames of %ix%i is that of one image of %ix%i", (frame_count, ...sizes) => {
    const [width, height, sheetWidth, sheetHeight] = sizes;
    const body = { ...gif, size: `${width}x${height}`, frame_count };
    expect(upperBound(body)).toBe(TEXT * 5 + sheet(sheetWidth, sheetHeight) * 30);
  });

  it("covers both directions of the grid", () => {
    const wide = sheet(768 * 4, 256 * 2);
    const tall = sheet(768 * 2, 256 * 4);
    const body = { ...gif, size: "768x256", frame_count: 4 };
    expect(upperBound(body)).toBe(TEXT * 5 + Math.max(wide, tall) * 30);
  });

  it("of size auto is that of the largest image", () => {
    expect(upperBound(gif)).toBe(TEXT * 5 + sheet(2880, 2880) * 30);
  });
});

describe("the upper bound of an SVG", () => {
  const svgModels = {
    cheap: { text_in: 1, text_out: 2, max_tokens: 1000 },
    dear: { text_in: 9, text_out: 3, max_tokens: 2000 },
  };
  const config = testConfig({ SVG_MODELS: JSON.stringify(svgModels) });
  const png = { model: "gpt-image-2.6-flare", quality: "low" };
  const svg = { ...png, output_format: "svg" };
  const boundOf = (body: object) => cost({ ...svg, ...body }, NONE, config).upperBound();
  const ofImage = upperBound(png);

  it("adds every token of the author at its higher price", () => {
    expect(boundOf({ svg: { model: "cheap" } })).toBe(ofImage + 1000 * 2);
    expect(boundOf({ svg: { model: "dear" } })).toBe(ofImage + 2000 * 9);
  });

  it("assumes the most expensive author if none is named", () => {
    expect(boundOf({})).toBe(ofImage + 2000 * 9);
  });

  it("is settled at the tokens that the author reports, or else in full", () => {
    const { actual } = cost({ ...svg, svg: { model: "cheap" } }, NONE, config);
    const usage = { input_tokens: 11, output_tokens: 800, total_tokens: 811 };
    const svgUsage = {
      model: "cheap",
      input_tokens: 100,
      output_tokens: 50,
      reasoning_tokens: 20,
      total_tokens: 150,
    };
    const ofReported = 11 * 5 + 800 * 30;
    expect(actual(reportedGeneration(usage, { svgUsage }))).toBe(ofReported + 100 * 1 + 50 * 2);
    expect(actual(reportedGeneration(usage))).toBe(ofReported + 1000 * 2);
  });

  it.each([
    ["dear", "cheap", "dear"],
    ["cheap", "dear", "dear"],
    [undefined, "cheap", "cheap"],
    [undefined, "unpriced", "dear"],
  ] as const)(
    "is settled for the author %s and the reported author %s at the price of %s",
    (model, reported, charged) => {
      const author = { model, reasoning: { effort: "low" } };
      const { actual } = cost({ ...svg, svg: author }, NONE, config);
      const usage = { input_tokens: 11, output_tokens: 800, total_tokens: 811 };
      const tokens = { input_tokens: 100, output_tokens: 50, reasoning_tokens: 20 };
      const svgUsage = { model: reported, ...tokens, total_tokens: 150 };
      const { text_in, text_out } = svgModels[charged];
      const ofAuthor = 100 * text_in + 50 * text_out;
      expect(actual(reportedGeneration(usage, { svgUsage }))).toBe(11 * 5 + 800 * 30 + ofAuthor);
    },
  );
});

describe("the actual cost", () => {
  const body = { model: "gpt-image-1.5", size: "1024x1024", quality: "medium" };
  const TABLE = 1056;
  const { actual } = cost(body);
  const usageOf = (output_tokens: number) => ({
    input_tokens: 10,
    output_tokens,
    total_tokens: 10 + output_tokens,
  });

  it("prices each kind of token that the upstream reports", () => {
    const usage = {
      input_tokens: 110,
      output_tokens: 1000,
      total_tokens: 1110,
      input_tokens_details: { image_tokens: 100, text_tokens: 10 },
    };
    expect(actual(reportedGeneration(usage))).toBe(10 * 5 + 100 * 8 + 1000 * 32);
  });

  it.each([
    ["half of the table", TABLE / 2, TABLE / 2],
    ["less than half of the table", TABLE / 2 - 1, TABLE],
    ["one token", 1, TABLE],
    ["more than the table", 5 * TABLE, 5 * TABLE],
  ])("is for %s (%i tokens) that of %i tokens", (_, reported, charged) => {
    expect(actual(reportedGeneration(usageOf(reported)))).toBe(10 * 5 + charged * 32);
  });

  it.each([1, TABLE - 1, TABLE + 1, 10_000_000])(
    "of a chat response with %i tokens is that of the table, because they are text",
    (reported) => {
      expect(actual(reportedGeneration(usageOf(reported), { isChatUsage: true }))).toBe(
        10 * 5 + TABLE * 32,
      );
    },
  );

  it("prices no more input tokens than the upstream reports, whatever their kinds", () => {
    const usage = { ...usageOf(TABLE), input_tokens_details: { image_tokens: 10_000_000 } };
    expect(actual(reportedGeneration(usage))).toBe(10 * 8 + TABLE * 32);
  });

  it("uses the size and the quality that the upstream chose for auto, but no others", () => {
    const { actual: ofAuto } = cost({ model: "gpt-image-1.5" });
    const resolved = { size: "1024x1024", quality: "low" };
    expect(ofAuto(reportedGeneration(usageOf(1), { resolved }))).toBe(10 * 5 + 272 * 32);
    expect(ofAuto(reportedGeneration(usageOf(1)))).toBe(10 * 5 + 6240 * 32);
    expect(actual(reportedGeneration(usageOf(1), { resolved }))).toBe(10 * 5 + TABLE * 32);
  });

  it("of an unknown model is plausible if it is for any table", () => {
    const vars = { MODELS: "m", DEFAULT_MODEL: "m" };
    const unknown = cost({ size: "1024x1024", quality: "high" }, NONE, testConfig(vars));
    const [least, most] = [patchTokens(48, 48, 1024 * 1024), patchTokens(96, 96, 1024 * 1024)];
    const charged = (tokens: number) => unknown.actual(reportedGeneration(usageOf(tokens)));
    expect(charged(least)).toBe(10 * 5 + least * 40);
    expect(charged(least / 2 - 1)).toBe(10 * 5 + most * 40);
  });

  it("counts the table for each image", () => {
    const reported = reportedGeneration(usageOf(TABLE), { images: 3 });
    expect(cost({ ...body, n: 3 }).actual(reported)).toBe(10 * 5 + 3 * TABLE * 32);
  });

  it("equals the upper bound if the upstream reports no usage", () => {
    const request = cost({ model: "gpt-image-1.5", stream: true, partial_images: 2 });
    expect(request.actual(reportedGeneration(NO_USAGE))).toBe(request.upperBound());
  });

  it("without plausible usage is at most the upper bound, whatever the upstream says that it generated", () => {
    const hostile = fc.oneof(
      fc.constantFrom("auto", "0x0", "99999x99999", "3840x2160", "high", "max", ...OBJECT_NAMES),
      fc.string(),
    );
    const models = fc.constantFrom("gpt-image-1.5", "gpt-image-2", "gpt-image-2.6-flare", "flux");
    const config = testConfig({ MODELS: "gpt-image-1.5,gpt-image-2,gpt-image-2.6-flare,flux" });
    const reports = {
      model: models,
      size: hostile,
      quality: hostile,
      n: fc.integer({ min: 1, max: 10 }),
    };
    fc.assert(
      fc.property(fc.record({ ...reports, images: fc.integer({ min: 1, max: 20 }) }), (report) => {
        const { model, n, size, quality, images } = report;
        const request = cost({ model, n }, NONE, config);
        const charged = request.actual(
          reportedGeneration(NO_USAGE, { resolved: { size, quality }, images }),
        );
        expect(charged).toSatisfy(Number.isSafeInteger);
        expect(charged).toBeGreaterThan(0);
        expect(charged).toBeLessThanOrEqual(request.upperBound());
      }),
    );
  });

  it("is never less than a table's image, whatever the upstream reports", () => {
    const tokens = fc.integer({ min: 0, max: 10_000_000 });
    fc.assert(
      fc.property(tokens, fc.boolean(), (output, isChatUsage) => {
        const charged = actual(reportedGeneration(usageOf(output), { isChatUsage }));
        expect(charged).toBeGreaterThanOrEqual((TABLE / 2) * 32);
        expect(charged).toBeGreaterThanOrEqual(isChatUsage ? TABLE * 32 : output * 32);
      }),
    );
  });

  it.each([1, 2, 3, 9])(
    "prices %i images at a price per image as the 3 that were requested",
    (images) => {
      const { actual: actualCost } = cost({ model: "dall-e-2", n: 3 });
      expect(actualCost(reportedGeneration(NO_USAGE, { images }))).toBe(3 * 20_000);
    },
  );
});

describe("the tokens to remember", () => {
  const { reportedTokens, tokenBound } = cost({
    model: "gpt-image-2",
    size: "1024x1024",
    quality: "low",
    n: 2,
  });
  const table = tokenBound()?.tokens ?? 0;
  const usageOf = (output_tokens: number) => ({ input_tokens: 1, output_tokens, total_tokens: 1 });

  it("are those of one image, at most four times the table", () => {
    const reported = (tokens: number) =>
      reportedTokens(reportedGeneration(usageOf(tokens), { images: 2 }));
    expect(table).toBe(patchTokens(16, 16, 1024 * 1024));
    expect(reported(501)?.tokens).toBe(251);
    expect(reported(100_000)?.tokens).toBe(4 * table);
    expect(reported(501)?.row).toBe(tokenBound()?.row);
  });

  it.each([
    [2, 1],
    [1, 2],
  ])("are those of one of %i images, if the upstream returns %i", (n, images) => {
    const body = { model: "gpt-image-2", size: "1024x1024", quality: "low", n };
    const reported = reportedGeneration(usageOf(2 * table), { images });
    expect(cost(body).reportedTokens(reported)?.tokens).toBe(table);
  });

  it("are without those of partial images, which are reserved apart", () => {
    const stream = { stream: true, partial_images: 3 };
    const body = { model: "gpt-image-2", size: "1024x1024", quality: "low", ...stream };
    const reported = reportedGeneration(usageOf(table + 3 * 100));
    expect(cost(body).reportedTokens(reported)?.tokens).toBe(table);
  });

  it("are none if a chat model reports them, if there are none, or if an image has a fixed price", () => {
    expect(reportedTokens(reportedGeneration(usageOf(500), { isChatUsage: true }))).toBeUndefined();
    expect(reportedTokens(reportedGeneration(NO_USAGE))).toBeUndefined();
    const dallE = cost({ model: "dall-e-2" });
    expect(dallE.reportedTokens(reportedGeneration(usageOf(500)))).toBeUndefined();
    expect(dallE.tokenBound()).toBeUndefined();
  });

  it("are apart for each parameter that changes them", () => {
    const model = "gpt-image-2.6-sunburst";
    const bodies = [
      { model: "gpt-image-2" },
      { model },
      { model, size: "1536x1024" },
      { model, quality: "high" },
      { model, complexity: "low" },
      { model, output_format: "webp" },
      { model, output_format: "gif" },
      { model, output_format: "gif", frame_count: 4 },
    ];
    const rows = bodies.map((body) => cost(body).tokenBound()?.row);
    expect(new Set(rows).size).toBe(bodies.length);
    const same = { model, prompt: "another", moderation: "low", variant: 3 };
    expect(cost(same).tokenBound()?.row).toBe(rows[1]);
  });
});

describe("PRICES", () => {
  it("under an alias are the prices of the alias", () => {
    const config = testConfig({
      MODEL_ALIASES: "fast=gpt-image-2",
      PRICES: '{"fast":{"per_image":0.01}}',
    });
    expect(cost({ model: "fast" }, config.prices, config).upperBound()).toBe(10_000);
    expect(cost({ model: "gpt-image-2" }, config.prices, config).upperBound()).not.toBe(10_000);
  });

  it("under a retired model are not the prices of its successor", () => {
    const vars = { RETIRED_MODELS: "replace", PRICES: '{"gpt-image-1.5":{"per_image":0.01}}' };
    const config = testConfig(vars);
    const priceAt = (nowMs: number) => {
      const { spec } = parseImageRequest(
        { prompt: "x", quality: "low", size: "1024x1024" },
        config,
        nowMs,
      );
      return costOf(spec, 0, config).upperBound();
    };
    expect(priceAt(DECEMBER_MS - 1)).toBe(10_000);
    expect(priceAt(DECEMBER_MS)).toBe(
      upperBound({ model: "gpt-image-2.6-sunburst", quality: "low", size: "1024x1024" }),
    );
  });

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
