import * as z from "zod";
import { baseModelId, MAX_PARTIAL_IMAGES } from "./models.ts";
import type { GenerationRecord, Usage } from "./record.ts";

/** Millionths of a US dollar; always whole. */
export type MicroDollars = number;

export const MICRO_PER_DOLLAR = 1_000_000;

/** The price of a model per token, in USD per million tokens, which is micro-dollars per token. */
export interface TokenPrice {
  text_in: number;
  image_in: number;
  image_out: number;
}

/** The price of a model per image, in USD. */
export interface ImagePrice {
  per_image: number;
}

export type Price = TokenPrice | ImagePrice;

/** Prices by model id. They override the table below. */
export type Prices = ReadonlyMap<string, Price>;

const money = z.number().min(0).max(10_000);

/** The variable `PRICES`: `{"model": {"text_in", "image_in", "image_out"} or {"per_image"}}`. */
export const pricesSchema = z
  .record(
    z.string(),
    z.union([
      z.strictObject({ text_in: money, image_in: money, image_out: money }),
      z.strictObject({ per_image: money }),
    ]),
  )
  .transform((prices): Prices => new Map(Object.entries(prices)));

const GPT_IMAGE_1: TokenPrice = { text_in: 5, image_in: 10, image_out: 40 };
const GPT_IMAGE_1_MINI: TokenPrice = { text_in: 2, image_in: 2.5, image_out: 8 };
const GPT_IMAGE_1_5: TokenPrice = { text_in: 5, image_in: 8, image_out: 32 };
const GPT_IMAGE_2: TokenPrice = { text_in: 5, image_in: 8, image_out: 30 };

/** OpenAI's price list, November 2026. */
const TOKEN_PRICES: readonly [prefix: string, price: TokenPrice][] = [
  ["gpt-image-1-mini", GPT_IMAGE_1_MINI],
  ["gpt-image-1.5", GPT_IMAGE_1_5],
  ["chatgpt-image-latest", GPT_IMAGE_1_5],
  ["gpt-image-1", GPT_IMAGE_1],
  ["gpt-image-2", GPT_IMAGE_2],
];
/** The most expensive price: that of a model that the table does not have. */
const MOST_EXPENSIVE = GPT_IMAGE_1;

/** OpenAI's price list for dall-e, USD per image, by quality and size. */
const DALL_E_2: Record<string, number> = { "256x256": 0.016, "512x512": 0.018 };
const DALL_E_2_LARGEST = 0.02;
const DALL_E_3 = { standard: 0.04, standardWide: 0.08, hd: 0.08, hdWide: 0.12 };

/** The parameters that decide the price of an image. */
interface Priced {
  upstreamModel: string;
  size: string;
  quality: string;
}

/** The parameters that decide the cost of a request. */
export interface PricedRequest extends Priced {
  prompt: string;
  n: number;
}

/** The cost of a request: at most, and in fact. */
export interface Cost {
  upperBound: () => MicroDollars;
  /** The cost of the usage that the upstream reports; the upper bound if it reports none. */
  actual: (usage: Usage, images: number) => MicroDollars;
}

/**
 * Returns the cost of a request.
 *
 * The upper bound counts one text token for each byte of the prompt, because no token is shorter, and a
 * fixed overhead. It assumes the most expensive size and quality for `auto`. It includes all images and
 * partial images.
 */
export function costOf(request: PricedRequest, partialImages: number, overrides: Prices): Cost {
  const price = priceOf(request, overrides);
  if ("per_image" in price) {
    const each = Math.ceil(price.per_image * MICRO_PER_DOLLAR);
    return { upperBound: () => each * request.n, actual: (_, images) => each * images };
  }
  const upperBound = () => {
    const partials = Math.min(partialImages, MAX_PARTIAL_IMAGES);
    const textTokens = new TextEncoder().encode(request.prompt).byteLength + OVERHEAD_TOKENS;
    const imageTokens = outputTokens(request) * request.n + partials * PARTIAL_IMAGE_TOKENS;
    return Math.ceil(textTokens * price.text_in + imageTokens * price.image_out);
  };
  return {
    upperBound,
    actual(usage) {
      if (usage.output_tokens === 0) return upperBound();
      const imageIn = usage.input_tokens_details?.["image_tokens"] ?? 0;
      const textIn = Math.max(0, usage.input_tokens - imageIn);
      return Math.ceil(
        textIn * price.text_in + imageIn * price.image_in + usage.output_tokens * price.image_out,
      );
    },
  };
}

/** Returns the cost of a completed generation, from the usage that the upstream reported. */
export function costOfRecord(
  { model, resolved, usage, images }: GenerationRecord,
  overrides: Prices,
): MicroDollars {
  const { size = "auto", quality = "auto" } = resolved;
  const n = images.length;
  const request = { upstreamModel: model, size, quality, n, prompt: "" };
  return costOf(request, 0, overrides).actual(usage, n);
}

/** Returns the price of an image of a model, size and quality: per token, or per image. */
export function priceOf({ upstreamModel, size, quality }: Priced, overrides: Prices): Price {
  const model = baseModelId(upstreamModel);
  const override = overrides.get(upstreamModel) ?? overrides.get(model);
  if (override !== undefined) return override;
  if (model === "dall-e-2") return { per_image: DALL_E_2[size] ?? DALL_E_2_LARGEST };
  if (model === "dall-e-3") {
    const isWide = size !== "1024x1024";
    if (quality === "hd") return { per_image: isWide ? DALL_E_3.hdWide : DALL_E_3.hd };
    return { per_image: isWide ? DALL_E_3.standardWide : DALL_E_3.standard };
  }
  return TOKEN_PRICES.find(([prefix]) => model.startsWith(prefix))?.[1] ?? MOST_EXPENSIVE;
}

/** The tokens that a model adds to a prompt. */
const OVERHEAD_TOKENS = 100;

/** OpenAI's image generation guide, "Partial images cost": each is 100 image output tokens more. */
const PARTIAL_IMAGE_TOKENS = 100;

/** OpenAI's image generation guide, "Image tokens", of the gpt-image-1 series; `high` is the last. */
const FIXED_TOKENS: Record<string, Record<string, number>> = {
  "1024x1024": { low: 272, medium: 1056, high: 4160 },
  "1024x1536": { low: 408, medium: 1584, high: 6240 },
  "1536x1024": { low: 400, medium: 1568, high: 6208 },
};
/** The most expensive size that `auto` may become. */
const MOST_EXPENSIVE_FIXED_SIZE = "1024x1536";

/** The same guide's formula for gpt-image-2 and later: patches along the longer edge, by quality. */
const GPT_IMAGE_2_PATCHES = { low: 16, medium: 48, high: 96 };
const GPT_IMAGE_2_5_PATCHES = { low: 16, medium: 24, high: 48, xhigh: 64, max: 96 };
const MOST_PATCHES = 96;

/**
 * The factor by which gpt-image-2.6 exceeds the formula's tokens. The guide has no figures. Third parties
 * measured 664 tokens for `low` at 1536x1024; the formula says 158.
 */
const GPT_IMAGE_2_6_FACTORS: Record<string, number> = { low: 4.5, medium: 4.5 };

/**
 * The edge that stands for `auto`: a square, the shape that costs the most, with as many pixels as
 * 1536x1024, the largest size of the gpt-image-1 series. An image that is larger is charged in full.
 */
const AUTO_EDGE = Math.sqrt(1536 * 1024);

/** Returns the output tokens of one image. An unknown quality counts as the most expensive one. */
function outputTokens({ upstreamModel, size, quality }: Priced): number {
  const model = baseModelId(upstreamModel);
  const isFixed = /^(?:gpt-image-1|chatgpt-image)/.test(model);
  if (isFixed) {
    const row = FIXED_TOKENS[size] ?? FIXED_TOKENS[MOST_EXPENSIVE_FIXED_SIZE];
    return row?.[quality] ?? row?.["high"] ?? 0;
  }
  const [, width = AUTO_EDGE, height = AUTO_EDGE] = /^(\d+)x(\d+)$/.exec(size) ?? [];
  const is25OrLater = /^gpt-image-2\.[56]/.test(model);
  const patches: Record<string, number> = is25OrLater ? GPT_IMAGE_2_5_PATCHES : GPT_IMAGE_2_PATCHES;
  const tokens = patchTokens(Number(width), Number(height), patches[quality] ?? MOST_PATCHES);
  const is26 = model.startsWith("gpt-image-2.6");
  return Math.ceil(tokens * (is26 ? (GPT_IMAGE_2_6_FACTORS[quality] ?? 1) : 1));
}

function patchTokens(width: number, height: number, long: number): number {
  const short = Math.round((long * Math.min(width, height)) / Math.max(width, height));
  return Math.ceil((long * short * (2_000_000 + width * height)) / 4_000_000);
}
